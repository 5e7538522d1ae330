// A small NBD client that only reads, with many requests in flight on one connection, over a Unix socket.
// Format: NetworkBlockDevice/nbd, doc/proto.md.
import { FailedError } from '../report/errors.ts';
import { Coverage } from './nbd-coverage.ts';
import { negotiate, type NbdExport } from './nbd-handshake.ts';
import { command, commandFlagDf, encodeRequest, requestLength } from './nbd-protocol.ts';
import { ReplyReader, type PendingRequest } from './nbd-replies.ts';
import { NbdSocket, type SocketOptions } from './nbd-socket.ts';

const nothing = new Uint8Array(0);

/** Connects and negotiates. @throws NotListeningError when nobody answers (yet); otherwise FailedError. */
export async function connectNbd(options: SocketOptions, exportName: string): Promise<NbdClient> {
  const socket = await NbdSocket.open(options);
  try {
    return new NbdClient(socket, await negotiate(socket, exportName), options.label);
  } catch (error) {
    await socket.close();
    throw error;
  }
}

export class NbdClient {
  readonly export: NbdExport;
  readonly #socket: NbdSocket;
  readonly #label: string;
  readonly #pending = new Map<
    number,
    PendingRequest & { readonly reject: (error: Error) => void }
  >();
  #lastCookie = 0;
  #unsent: Buffer[] = [];

  constructor(socket: NbdSocket, found: NbdExport, label: string) {
    this.#socket = socket;
    this.export = found;
    this.#label = label;
    socket.onFailure((error) => this.#rejectAll(error));
    new ReplyReader(socket, found, this.#pending).start();
  }

  /**
   * Fills `target` with the bytes from `offset`. Offset and length must fit the export's block sizes.
   * @throws FailedError naming disk and offset; an error of the server leaves the connection usable.
   */
  async read(offset: number, target: Uint8Array): Promise<void> {
    // An answer in one piece: otherwise QEMU looks for holes again in each request.
    const flags = this.export.structured && this.export.canDf ? commandFlagDf : 0;
    await this.#request(command.read, flags, offset, target.length, target);
  }

  /** Returns pairs of length and flags, from `offset` on: at least one pair, and perhaps less than `length` bytes. */
  async blockStatus(offset: number, length: number): Promise<Uint32Array> {
    const { status } = await this.#request(command.blockStatus, 0, offset, length, nothing);
    return status ?? new Uint32Array(0);
  }

  /** Disconnects from the server and closes; unanswered requests are rejected. */
  async close(): Promise<void> {
    const farewell = Buffer.alloc(requestLength);
    const type = command.disconnect;
    encodeRequest(farewell, { type, flags: 0, cookie: this.#nextCookie(), offset: 0, length: 0 });
    await this.#socket.close(farewell);
  }

  #request(
    type: PendingRequest['type'],
    flags: number,
    offset: number,
    length: number,
    target: Uint8Array,
  ): Promise<PendingRequest> {
    const cookie = this.#nextCookie();
    const message = Buffer.allocUnsafe(requestLength);
    encodeRequest(message, { type, flags, cookie, offset, length });
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#socket.waiting = this.#pending.size > 0;
        if (pending.error) reject(this.#requestError(pending));
        else resolve(pending);
      };
      const pending: PendingRequest & { readonly reject: (error: Error) => void } = {
        ...{ type, offset, target, settle, reject },
        coverage: new Coverage(),
        status: undefined,
        error: undefined,
      };
      this.#pending.set(cookie, pending);
      this.#send(message);
      if (this.#socket.failure) this.#rejectAll(this.#socket.failure);
    });
  }

  /** Requests made in the same turn go out in one write. */
  #send(message: Buffer): void {
    this.#socket.waiting = true;
    this.#unsent.push(message);
    if (this.#unsent.length > 1) return;
    queueMicrotask(() => {
      const unsent = this.#unsent;
      this.#unsent = [];
      this.#socket.write(unsent.length === 1 && unsent[0] ? unsent[0] : Buffer.concat(unsent));
    });
  }

  #nextCookie(): number {
    this.#lastCookie = (this.#lastCookie + 1) % 2 ** 32;
    return this.#lastCookie;
  }

  #requestError({ type, error }: PendingRequest): FailedError {
    const what = type === command.read ? 'read' : 'find the data of';
    const where = error && Number.isFinite(error.offset) ? ` at offset ${error.offset}` : '';
    return new FailedError(`cannot ${what} ${this.#label}${where}: ${error?.reason ?? ''}`);
  }

  #rejectAll(error: Error): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of all) reject(error);
  }
}
