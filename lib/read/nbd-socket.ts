// The byte level below the NBD client: gives exactly as many bytes as are asked for, and has the kernel write large
// amounts directly into the buffer they are meant for. Knows nothing of NBD. The first failure (EOF, socket error,
// silence, abort) ends the connection, and is its only error.
import { connect, type Socket } from 'node:net';
import { errorMessage, FailedError } from '../report/errors.ts';

/** Up to this many bytes more than those asked for are received at once, and copied. */
const scratchSize = 32 * 1024;
/** When at least this many bytes are missing, the kernel writes directly into the caller's buffer. */
const directFrom = 8 * 1024;

export interface SocketOptions {
  readonly path: string;
  /** What is read through it, for messages: "disk 0 of VM 7". */
  readonly label: string;
  /** The server may be silent for this long, in milliseconds, while an answer is awaited. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Nobody is listening yet, or no longer: the caller may try again. */
export class NotListeningError extends FailedError {}

export class NbdSocket {
  readonly #socket: Socket;
  readonly #options: SocketOptions;
  readonly #scratch = Buffer.allocUnsafeSlow(scratchSize);
  /** Bytes of the scratch buffer that were received and not yet given out. */
  #from = 0;
  #to = 0;
  #target: Uint8Array | undefined;
  #filled = 0;
  #whenFilled: () => void = () => undefined;
  #direct = false;
  #delivering = false;
  #anyReceived = false;
  #failure: Error | undefined;
  #onFailure: (error: Error) => void = () => undefined;
  readonly #closed: Promise<void>;
  readonly #abort = (): void => this.fail(abortReason(this.#options));
  /** Set by the owner while answers are awaited: only then is silence an error. */
  waiting = false;

  private constructor(options: SocketOptions) {
    this.#options = options;
    this.#socket = connect({
      path: options.path,
      onread: { buffer: () => this.#nextBuffer(), callback: (count) => this.#received(count) },
    });
    this.#closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.setTimeout(options.stallMs);
    this.#socket.on('timeout', () => {
      if (this.waiting) this.fail(this.error(`no answer for ${options.stallMs / 1000} s`));
    });
    this.#socket.on('error', (error) => this.fail(this.#lost(error)));
    this.#socket.on('close', () => this.fail(this.#lost()));
    options.signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** Connects. @throws NotListeningError; FailedError when the path cannot be reached for another reason. */
  static async open(options: SocketOptions): Promise<NbdSocket> {
    if (options.signal?.aborted) throw abortReason(options);
    const self = new NbdSocket(options);
    await new Promise<void>((resolve, reject) => {
      self.#onFailure = reject;
      self.#socket.once('connect', resolve);
    });
    return self;
  }

  /** Calls `listener` once, with the first failure; immediately if there has been one. */
  onFailure(listener: (error: Error) => void): void {
    this.#onFailure = listener;
    if (this.#failure) listener(this.#failure);
  }

  /**
   * Calls `whenFilled` once `target` is full; it may set the next target. It throws when the server's
   * answer is wrong, which ends the connection.
   */
  fill(target: Uint8Array, whenFilled: () => void): void {
    if (this.#failure) return;
    this.#target = target;
    this.#filled = 0;
    this.#whenFilled = whenFilled;
    if (!this.#delivering) this.#deliver();
  }

  /** Returns the next `length` bytes. For the handshake; it replaces what `onFailure` has set. */
  async take(length: number): Promise<Buffer> {
    const target = Buffer.alloc(length);
    await new Promise<void>((resolve, reject) => {
      this.onFailure(reject);
      this.fill(target, resolve);
    });
    return target;
  }

  /** Why the connection ended; undefined while it is open. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  write(data: Buffer): void {
    if (!this.#failure) this.#socket.write(data);
  }

  /** Ends the connection because of `error`; later errors are ignored. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#destroy();
    this.#onFailure(error);
  }

  /** Sends `farewell` and closes, without waiting for the server. May be called again. */
  async close(farewell?: Buffer): Promise<void> {
    if (farewell) this.write(farewell);
    this.fail(this.error('the connection was closed'));
    await this.#closed;
  }

  /** An error of this connection, in words for a person. */
  error(reason: string, cause?: unknown): FailedError {
    const text = `cannot read ${this.#options.label}: NBD server at ${this.#options.path}: ${reason}`;
    return new FailedError(text, { cause });
  }

  /**
   * A NotListeningError if nobody listens, or if the connection ended before a byte came: through a forwarded socket, a
   * server that does not listen yet looks like that.
   */
  #lost(error?: NodeJS.ErrnoException): Error {
    const reset = ['ECONNRESET', 'EPIPE'].includes(error?.code ?? '');
    const reason = !error || reset ? 'the connection was lost' : inWords(error);
    const { message } = this.error(reason);
    const absent =
      !error || reset || ['ENOENT', 'ECONNREFUSED', 'EAGAIN'].includes(error.code ?? '');
    return absent && !this.#anyReceived
      ? new NotListeningError(message, { cause: error })
      : new FailedError(message, { cause: error });
  }

  #destroy(): void {
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#target = undefined;
    this.#socket.destroy();
  }

  /** Returns where the kernel puts the next bytes. Node calls it before each read. */
  #nextBuffer(): Uint8Array {
    this.#direct =
      this.#from === this.#to &&
      this.#target !== undefined &&
      this.#target.length - this.#filled >= directFrom;
    if (this.#direct && this.#target) return this.#target.subarray(this.#filled);
    if (this.#from > 0) {
      this.#scratch.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    return this.#scratch.subarray(this.#to);
  }

  #received(count: number): boolean {
    if (this.#failure) return false;
    this.#anyReceived = true;
    if (this.#direct) this.#filled += count;
    else this.#to += count;
    this.#deliver();
    if (this.#to - this.#from === scratchSize) this.fail(this.error('sends more than was asked'));
    return true;
  }

  #deliver(): void {
    this.#delivering = true;
    try {
      while (this.#target) {
        const count = Math.min(this.#target.length - this.#filled, this.#to - this.#from);
        if (count > 0) {
          this.#target.set(this.#scratch.subarray(this.#from, this.#from + count), this.#filled);
          this.#from += count;
          this.#filled += count;
        }
        if (this.#filled < this.#target.length) break;
        this.#target = undefined;
        this.#whenFilled();
      }
    } catch (error) {
      this.fail(this.error(errorMessage(error), error));
    } finally {
      this.#delivering = false;
    }
  }
}

function inWords({ code = '', message }: NodeJS.ErrnoException): string {
  const words: Readonly<Record<string, string | undefined>> = {
    ENOENT: 'there is no such socket',
    ECONNREFUSED: 'nobody listens on this socket',
    EACCES: 'this user may not connect to it',
  };
  return words[code] ?? message;
}

function abortReason({ signal, label }: SocketOptions): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new FailedError(`reading ${label} was cancelled`);
}
