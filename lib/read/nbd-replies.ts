// Parses what an NBD server answers, and puts each byte where its request wants it. Every answer is
// validated: one that does not fit its request is an error, which ends the connection.
// Format: NetworkBlockDevice/nbd, doc/proto.md, "Simple reply message", "Structured reply chunk".
import type { Coverage } from './nbd-coverage.ts';
import {
  chunk,
  chunkFlagDone,
  command,
  readUint64,
  simpleReplyMagic,
  structuredReplyMagic,
  transmissionError,
} from './nbd-protocol.ts';
import type { NbdSocket } from './nbd-socket.ts';

/** 2^20 descriptors: a server should not send more. */
const maxStatusLength = 4 + 8 * 2 ** 20;
const maxErrorLength = 4 + 2 + 4096 + 8;

/** A request that is not yet fully answered. */
export interface PendingRequest {
  readonly type: typeof command.read | typeof command.blockStatus;
  readonly offset: number;
  /** Where the data of a read goes; empty for block status. */
  readonly target: Uint8Array;
  readonly coverage: Coverage;
  /** Descriptors of block status: pairs of length and flags. */
  status: Uint32Array | undefined;
  /** Why the server failed, and at which offset. */
  error: { readonly reason: string; readonly offset: number } | undefined;
  /** Called once, when the answer is complete. */
  readonly settle: () => void;
}

export interface ReplyRules {
  readonly structured: boolean;
  readonly contextId: number | undefined;
}

/** Reads replies until the connection ends. Each completed request is removed from `pending` and settled. */
export class ReplyReader {
  readonly #socket: NbdSocket;
  readonly #rules: ReplyRules;
  readonly #pending: Map<number, PendingRequest>;
  /** Magic to cookie, then the length of a chunk, then the first field of its payload. */
  readonly #head = Buffer.alloc(16);
  readonly #lengthField = Buffer.alloc(4);
  readonly #offsetField = Buffer.alloc(12);

  constructor(socket: NbdSocket, rules: ReplyRules, pending: Map<number, PendingRequest>) {
    this.#socket = socket;
    this.#rules = rules;
    this.#pending = pending;
  }

  start(): void {
    this.#socket.fill(this.#head, () => this.#onHead());
  }

  #onHead(): void {
    const magic = this.#head.readUInt32BE();
    if (magic === simpleReplyMagic) {
      this.#onSimpleReply();
    } else if (magic === structuredReplyMagic && this.#rules.structured) {
      this.#socket.fill(this.#lengthField, () => this.#onChunk());
    } else {
      throw new Error('malformed reply');
    }
  }

  #onSimpleReply(): void {
    const request = this.#requestOf();
    const code = this.#head.readUInt32BE(4);
    if (code !== 0) {
      request.error ??= { reason: transmissionError(code), offset: request.offset };
      this.#finish(request, true);
    } else if (request.type === command.read && !this.#rules.structured) {
      this.#cover(request, 0, request.target.length);
      this.#socket.fill(request.target, () => this.#finish(request, true));
    } else {
      throw new Error('simple reply where a structured one is due');
    }
  }

  #onChunk(): void {
    const request = this.#requestOf();
    const type = this.#head.readUInt16BE(6);
    const length = this.#lengthField.readUInt32BE();
    const last = (this.#head.readUInt16BE(4) & chunkFlagDone) !== 0;
    switch ((type & chunk.errorBit) !== 0 ? chunk.errorBit : type) {
      case chunk.errorBit:
        this.#onError(request, type, length, last);
        break;
      case chunk.none:
        if (length !== 0 || !last) throw new Error('malformed reply chunk');
        this.#finish(request, last);
        break;
      case chunk.offsetData:
        this.#onData(request, length, last);
        break;
      case chunk.offsetHole:
        this.#onHole(request, length, last);
        break;
      case chunk.blockStatus:
        this.#onStatus(request, length, last);
        break;
      default:
        throw new Error(`unknown reply chunk ${type}`);
    }
  }

  #onData(request: PendingRequest, length: number, last: boolean): void {
    if (request.type !== command.read || length < 9) throw new Error('malformed reply chunk');
    const field = this.#offsetField.subarray(0, 8);
    this.#socket.fill(field, () => {
      const from = readUint64(field, 0) - request.offset;
      this.#cover(request, from, length - 8);
      const target = request.target.subarray(from, from + length - 8);
      this.#socket.fill(target, () => this.#finish(request, last));
    });
  }

  #onHole(request: PendingRequest, length: number, last: boolean): void {
    if (request.type !== command.read || length !== 12) throw new Error('malformed reply chunk');
    const field = this.#offsetField;
    this.#socket.fill(field, () => {
      const from = readUint64(field, 0) - request.offset;
      const size = field.readUInt32BE(8);
      this.#cover(request, from, size);
      request.target.fill(0, from, from + size);
      this.#finish(request, last);
    });
  }

  #onStatus(request: PendingRequest, length: number, last: boolean): void {
    if (
      request.type !== command.blockStatus ||
      request.status ||
      length < 12 ||
      length % 8 !== 4 ||
      length > maxStatusLength
    ) {
      throw new Error('malformed block status');
    }
    const payload = Buffer.alloc(length);
    this.#socket.fill(payload, () => {
      if (payload.readUInt32BE() !== this.#rules.contextId) {
        throw new Error('block status of something that was not asked for');
      }
      request.status = Uint32Array.from({ length: (length - 4) / 4 }, (_, index) =>
        payload.readUInt32BE(4 + index * 4),
      );
      this.#finish(request, last);
    });
  }

  #onError(request: PendingRequest, type: number, length: number, last: boolean): void {
    if (length < 6 || length > maxErrorLength) throw new Error('malformed error chunk');
    const payload = Buffer.alloc(length);
    this.#socket.fill(payload, () => {
      const code = payload.readUInt32BE();
      const textEnd = 6 + payload.readUInt16BE(4);
      const hasOffset = type === chunk.errorOffset;
      if (code === 0 || textEnd + (hasOffset ? 8 : 0) > length) {
        throw new Error('malformed error chunk');
      }
      const reason = transmissionError(code, payload.toString('utf8', 6, textEnd));
      const offset = hasOffset ? readUint64(payload, textEnd) : request.offset;
      request.error ??= { reason, offset };
      this.#finish(request, last);
    });
  }

  /** Returns the request to which the current reply belongs. */
  #requestOf(): PendingRequest {
    const request =
      this.#head.readUInt32BE(8) === 0 ? this.#pending.get(this.#head.readUInt32BE(12)) : undefined;
    if (!request) throw new Error('reply to a request that was not made');
    return request;
  }

  #cover(request: PendingRequest, from: number, length: number): void {
    if (from < 0 || length < 1 || from + length > request.target.length) {
      throw new Error('reply with data outside of what was asked for');
    }
    if (!request.coverage.add(from, length)) throw new Error('reply with the same data twice');
  }

  /** Ends a chunk, and its request if the chunk is the last one; then reads the next reply. */
  #finish(request: PendingRequest, last: boolean): void {
    if (last) {
      const complete =
        request.type === command.read
          ? request.coverage.bytes === request.target.length
          : request.status !== undefined;
      if (!complete && !request.error) throw new Error('reply without all that was asked for');
      this.#pending.delete(this.#head.readUInt32BE(12));
      request.settle();
    }
    this.start();
  }
}
