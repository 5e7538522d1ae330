// The NBD handshake: fixed newstyle, structured replies and `base:allocation` if the server has
// them, then NBD_OPT_GO. Format: NetworkBlockDevice/nbd, doc/proto.md.
import {
  handshake,
  info,
  option,
  optionError,
  optionReply,
  readUint64,
  transmissionFlag,
} from './nbd-protocol.ts';
import type { NbdSocket } from './nbd-socket.ts';

/** More replies than any server sends to one option; limits an endless stream of them. */
const maxReplies = 256;
const maxReplyLength = 64 * 1024;

/** What was agreed on. */
export interface NbdExport {
  /** Bytes. */
  readonly size: number;
  /** Requests must be multiples of this, bytes. A power of two. */
  readonly minBlock: number;
  /** Longest request, bytes. */
  readonly maxBlock: number;
  readonly structured: boolean;
  /** The id of `base:allocation`; undefined when the server cannot tell data from zeros. */
  readonly contextId: number | undefined;
  /** Whether a read may ask to be answered in one piece. */
  readonly canDf: boolean;
}

/** @throws FailedError when the server is not an NBD server, is too old, or refuses the export. */
export async function negotiate(socket: NbdSocket, exportName: string): Promise<NbdExport> {
  socket.waiting = true;
  await greet(socket);
  const name = Buffer.from(exportName);
  const structured = await agreesToStructured(socket);
  const contextId = structured ? await askForContext(socket, name) : undefined;
  const found = await go(socket, name);
  socket.waiting = false;
  return { ...found, structured, contextId };
}

async function greet(socket: NbdSocket): Promise<void> {
  const magic = await socket.take(8);
  if (magic.readBigUInt64BE() !== handshake.initMagic) {
    throw socket.error('it does not speak NBD');
  }
  const style = (await socket.take(8)).readBigUInt64BE();
  if (style === handshake.oldstyleMagic)
    throw socket.error('it speaks the oldstyle handshake only');
  if (style !== handshake.optionMagic) throw socket.error('it does not speak NBD');
  const flags = (await socket.take(2)).readUInt16BE();
  if ((flags & handshake.flagFixedNewstyle) === 0) {
    throw socket.error('it does not offer the fixed newstyle handshake');
  }
  const answer = Buffer.alloc(4);
  answer.writeUInt32BE(flags & (handshake.flagFixedNewstyle | handshake.flagNoZeroes));
  socket.write(answer);
}

async function agreesToStructured(socket: NbdSocket): Promise<boolean> {
  sendOption(socket, option.structuredReply, Buffer.alloc(0));
  const { type, data } = await takeReply(socket, option.structuredReply);
  if (type === optionReply.ack && data.length === 0) return true;
  if (type >= optionReply.errorBit) return false;
  throw socket.error(`unexpected answer ${type} to NBD_OPT_STRUCTURED_REPLY`);
}

async function askForContext(socket: NbdSocket, exportName: Buffer): Promise<number | undefined> {
  const query = Buffer.from('base:allocation');
  const request = [lengthOf(exportName), exportName, uint32(1), lengthOf(query), query];
  sendOption(socket, option.setMetaContext, Buffer.concat(request));
  let contextId: number | undefined;
  for (let count = 0; count < maxReplies; count++) {
    const { type, data } = await takeReply(socket, option.setMetaContext);
    // A server without metadata contexts: the whole disk is treated as data.
    if (type >= optionReply.errorBit) return undefined;
    if (type === optionReply.ack) return contextId;
    if (type !== optionReply.metaContext || data.length < 4 || !data.subarray(4).equals(query)) {
      throw socket.error(`unexpected answer ${type} to NBD_OPT_SET_META_CONTEXT`);
    }
    contextId = data.readUInt32BE();
  }
  throw socket.error('it gives no end to its metadata contexts');
}

async function go(
  socket: NbdSocket,
  exportName: Buffer,
): Promise<Pick<NbdExport, 'size' | 'minBlock' | 'maxBlock' | 'canDf'>> {
  const wanted = Buffer.from([0, 1, 0, info.blockSize]);
  sendOption(socket, option.go, Buffer.concat([lengthOf(exportName), exportName, wanted]));
  let found: { size: number; canDf: boolean } | undefined;
  let blocks = { minBlock: 1, maxBlock: 32 * 1024 * 1024 };
  for (let count = 0; count < maxReplies; count++) {
    const { type, data } = await takeReply(socket, option.go);
    if (type >= optionReply.errorBit) {
      throw socket.error(
        `export "${exportName.toString()}": ${optionError(type, data.toString())}`,
      );
    }
    if (type === optionReply.ack) {
      if (!found) throw socket.error('it does not say how big the export is');
      return { ...found, ...blocks };
    }
    if (type !== optionReply.info || data.length < 2) {
      throw socket.error(`unexpected answer ${type} to NBD_OPT_GO`);
    }
    const kind = data.readUInt16BE();
    if (kind === info.export && data.length === 12) {
      const size = readUint64(data, 2);
      if (!Number.isFinite(size)) throw socket.error('the export is too big');
      found = { size, canDf: (data.readUInt16BE(10) & transmissionFlag.sendDf) !== 0 };
    }
    if (kind === info.blockSize && data.length === 14) blocks = blockSizes(socket, data);
  }
  throw socket.error('it gives no end to its information');
}

function blockSizes(socket: NbdSocket, data: Buffer): { minBlock: number; maxBlock: number } {
  const minBlock = data.readUInt32BE(2);
  const maxBlock = data.readUInt32BE(10);
  const isPowerOfTwo = minBlock > 0 && (minBlock & (minBlock - 1)) === 0;
  if (!isPowerOfTwo || minBlock > 64 * 1024 || maxBlock < minBlock) {
    throw socket.error(`it wants impossible block sizes (${minBlock} to ${maxBlock} bytes)`);
  }
  return { minBlock, maxBlock };
}

function sendOption(socket: NbdSocket, id: number, data: Buffer): void {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(handshake.optionMagic);
  head.writeUInt32BE(id, 8);
  head.writeUInt32BE(data.length, 12);
  socket.write(Buffer.concat([head, data]));
}

async function takeReply(socket: NbdSocket, id: number): Promise<{ type: number; data: Buffer }> {
  const head = await socket.take(20);
  const length = head.readUInt32BE(16);
  if (
    head.readBigUInt64BE() !== handshake.replyMagic ||
    head.readUInt32BE(8) !== id ||
    length > maxReplyLength
  ) {
    throw socket.error('malformed answer in the handshake');
  }
  return { type: head.readUInt32BE(12), data: await socket.take(length) };
}

function uint32(value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value);
  return data;
}

function lengthOf(data: Buffer): Buffer {
  return uint32(data.length);
}
