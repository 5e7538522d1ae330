// An NBD server that does what a test tells it, also what no server should: real ones cannot be made
// to lie. Handshake and requests are those of doc/proto.md.
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { inFolder } from '../support/nbd-servers.ts';

export interface Request {
  readonly type: number;
  readonly cookie: Buffer;
  readonly offset: number;
  readonly length: number;
}

export interface Script {
  readonly size?: number;
  readonly structured?: boolean;
  /** Whether the server knows `base:allocation`. Default: yes. */
  readonly context?: boolean;
  /** Answers a request; block status is answered as "all data" unless `status` does it. */
  readonly read?: (request: Request, socket: Socket) => void;
  readonly status?: (request: Request, socket: Socket) => void;
  /** Replaces the whole handshake: what is sent as soon as somebody connects. */
  readonly greeting?: Buffer;
  /** Replaces the reply to one option: receives its number, returns what is sent. */
  readonly option?: (id: number) => Buffer | undefined;
}

export const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
export const u32 = (value: number): Buffer => {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value);
  return data;
};
export const u64 = (value: number): Buffer => {
  const data = Buffer.alloc(8);
  data.writeBigUInt64BE(BigInt(value));
  return data;
};

export const greeting = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)]);

/** A chunk of a structured reply; `done` by default. */
export function chunk(cookie: Buffer, type: number, payload: Buffer, done = true): Buffer {
  const head = [u32(0x668e33ef), u16(done ? 1 : 0), u16(type), cookie, u32(payload.length)];
  return Buffer.concat([...head, payload]);
}

export const dataChunk = (cookie: Buffer, offset: number, data: Buffer, done = true): Buffer =>
  chunk(cookie, 1, Buffer.concat([u64(offset), data]), done);

export const holeChunk = (cookie: Buffer, offset: number, length: number, done = true): Buffer =>
  chunk(cookie, 2, Buffer.concat([u64(offset), u32(length)]), done);

/** Descriptors as pairs of length and flags. */
export const statusChunk = (
  cookie: Buffer,
  descriptors: readonly (readonly [number, number])[],
  contextId = 5,
): Buffer =>
  chunk(cookie, 5, Buffer.concat([u32(contextId), ...descriptors.flat().map((one) => u32(one))]));

export const simpleReply = (
  cookie: Buffer,
  error: number,
  data: Buffer = Buffer.alloc(0),
): Buffer => Buffer.concat([u32(0x67446698), u32(error), cookie, data]);

export const optionReply = (id: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([
    ...[Buffer.from('0003e889045565a9', 'hex'), u32(id), u32(type)],
    ...[u32(data.length), data],
  ]);

/** Runs such a server while `body` runs. */
export async function scripted<T>(
  script: Script,
  body: (socketPath: string) => Promise<T>,
): Promise<T> {
  return await inFolder(async (folder) => {
    const path = join(folder, 's');
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.write(script.greeting ?? greeting);
      serve(socket, script);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      return await body(path);
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });
}

/** Takes client flags, then options up to NBD_OPT_GO, then requests. */
function serve(socket: Socket, script: Script): void {
  let input = Buffer.alloc(0);
  let stage: 'flags' | 'options' | 'requests' = 'flags';
  socket.on('data', (data) => {
    input = Buffer.concat([input, Buffer.from(data)]);
    for (;;) {
      if (stage === 'flags') {
        if (input.length < 4) return;
        input = input.subarray(4);
        stage = 'options';
      } else if (stage === 'options') {
        if (input.length < 16 || input.length < 16 + input.readUInt32BE(12)) return;
        const id = input.readUInt32BE(8);
        input = input.subarray(16 + input.readUInt32BE(12));
        socket.write(script.option?.(id) ?? usualReply(id, script));
        if (id === 7) stage = 'requests';
      } else {
        if (input.length < 28) return;
        answer(input.subarray(0, 28), socket, script);
        input = input.subarray(28);
      }
    }
  });
}

function usualReply(id: number, { size = 1024 * 1024, structured = true, context = true }: Script) {
  const unsupported = optionReply(id, 0x80000001);
  if (id === 8) return structured ? optionReply(id, 1) : unsupported;
  if (id === 10) {
    const named = optionReply(id, 4, Buffer.concat([u32(5), Buffer.from('base:allocation')]));
    return context ? Buffer.concat([named, optionReply(id, 1)]) : unsupported;
  }
  const info = optionReply(id, 3, Buffer.concat([u16(0), u64(size), u16(1)]));
  return Buffer.concat([info, optionReply(id, 1)]);
}

function answer(bytes: Buffer, socket: Socket, script: Script): void {
  const request = {
    type: bytes.readUInt16BE(6),
    cookie: Buffer.from(bytes.subarray(8, 16)),
    offset: Number(bytes.readBigUInt64BE(16)),
    length: bytes.readUInt32BE(24),
  };
  if (request.type === 0) script.read?.(request, socket);
  else if (request.type === 2) socket.end();
  else if (script.status) script.status(request, socket);
  else socket.write(statusChunk(request.cookie, [[request.length, 0]]));
}
