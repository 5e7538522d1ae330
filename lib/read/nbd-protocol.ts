// Numbers and layouts of the NBD protocol, as far as a reader needs them: fixed newstyle handshake,
// NBD_OPT_GO, structured replies, block status. All integers are big-endian.
// Format: NetworkBlockDevice/nbd, doc/proto.md.

export const handshake = {
  /** `NBDMAGIC`, `IHAVEOPT` (fixed newstyle), and what an oldstyle server sends instead of the latter. */
  initMagic: 0x4e42444d41474943n,
  optionMagic: 0x49484156454f5054n,
  oldstyleMagic: 0x00420281861253n,
  replyMagic: 0x0003e889045565a9n,
  flagFixedNewstyle: 1,
  flagNoZeroes: 2,
} as const;

export const option = { go: 7, structuredReply: 8, setMetaContext: 10 } as const;

export const optionReply = { ack: 1, info: 3, metaContext: 4, errorBit: 0x80000000 } as const;

/** NBD_REP_ERR_*, without the error bit. */
const optionErrors = new Map([
  [1, 'the server does not know this option (NBD_REP_ERR_UNSUP)'],
  [2, 'forbidden by the server (NBD_REP_ERR_POLICY)'],
  [3, 'invalid request (NBD_REP_ERR_INVALID)'],
  [4, 'not supported on the server (NBD_REP_ERR_PLATFORM)'],
  [5, 'the server requires TLS (NBD_REP_ERR_TLS_REQD)'],
  [6, 'no such export (NBD_REP_ERR_UNKNOWN)'],
  [7, 'the server is shutting down (NBD_REP_ERR_SHUTDOWN)'],
  [8, 'the server requires block sizes (NBD_REP_ERR_BLOCK_SIZE_REQD)'],
  [9, 'the request is too big (NBD_REP_ERR_TOO_BIG)'],
]);

export const info = { export: 0, blockSize: 3 } as const;

export const transmissionFlag = { sendDf: 1 << 7 } as const;

export const requestMagic = 0x25609513;
export const simpleReplyMagic = 0x67446698;
export const structuredReplyMagic = 0x668e33ef;

export const command = { read: 0, disconnect: 2, blockStatus: 7 } as const;
export const commandFlagDf = 1 << 2;

export const chunk = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  errorBit: 1 << 15,
  errorOffset: (1 << 15) + 2,
} as const;
export const chunkFlagDone = 1;

/** `base:allocation`: the range reads as zeros. NBD_STATE_HOLE (1) alone promises nothing about content. */
export const stateZero = 2;

const transmissionErrors = new Map([
  [1, 'Operation not permitted (EPERM)'],
  [5, 'Input/output error (EIO)'],
  [12, 'Cannot allocate memory (ENOMEM)'],
  [22, 'Invalid argument (EINVAL)'],
  [28, 'No space left on device (ENOSPC)'],
  [75, 'Value too large (EOVERFLOW)'],
  [95, 'Operation not supported (ENOTSUP)'],
  [108, 'the server is shutting down (ESHUTDOWN)'],
]);

/** The reason a request failed, with the server's own text if it sent one. */
export function transmissionError(code: number, text = ''): string {
  return withText(transmissionErrors.get(code) ?? `error ${code}`, text);
}

/** The reason an option was refused; `type` is the reply type with its error bit. */
export function optionError(type: number, text: string): string {
  const code = (type & ~optionReply.errorBit) >>> 0;
  return withText(optionErrors.get(code) ?? `error ${code}`, text);
}

/** The text of a server for messages: without control characters, and shortened. */
function withText(reason: string, text: string): string {
  const printable = text
    .replaceAll(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, 200);
  return printable === '' ? reason : `${reason}: ${printable}`;
}

export const requestLength = 28;

/** Writes one request into `target`; the cookie is 32 bits, its upper half stays zero. */
export function encodeRequest(
  target: Buffer,
  request: { type: number; flags: number; cookie: number; offset: number; length: number },
): void {
  target.writeUInt32BE(requestMagic, 0);
  target.writeUInt16BE(request.flags, 4);
  target.writeUInt16BE(request.type, 6);
  target.writeUInt32BE(0, 8);
  target.writeUInt32BE(request.cookie, 12);
  writeUint64(target, request.offset, 16);
  target.writeUInt32BE(request.length, 24);
}

/** An unsigned 64-bit number that is a safe integer; anything bigger becomes Infinity. */
export function readUint64(source: Buffer, at: number): number {
  const value = source.readUInt32BE(at) * 2 ** 32 + source.readUInt32BE(at + 4);
  return Number.isSafeInteger(value) ? value : Infinity;
}

function writeUint64(target: Buffer, value: number, at: number): void {
  target.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  target.writeUInt32BE(value % 2 ** 32, at + 4);
}
