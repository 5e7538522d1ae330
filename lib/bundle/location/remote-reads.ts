// Reads a file on another machine through a script there, which takes requests one after another and answers with bytes.
import {
  ConnectionError,
  FailedError,
  UsageError,
  type OnevmdumpError,
} from '../../report/errors.ts';
import type { PipedService } from '../../run/runner.ts';
import { ByteReader } from '../read/byte-reader.ts';

/** What the script reports about the file before it takes requests. */
export interface FileHead {
  /** Bytes. */
  readonly size: number;
  readonly modified: Date;
}

/** Of the two numbers that `head` gets. */
const longestLine = 64;

export class RemoteReads {
  readonly #service: PipedService;
  /** The bundle's name for messages: host:path. */
  readonly #name: string;
  readonly #answers: ByteReader;
  /** Answers come in the order of the requests, so each is read after the one before it. */
  #turn: Promise<unknown> = Promise.resolve();

  /** Takes over the script that `startReading` has started. */
  constructor(service: PipedService, name: string) {
    this.#service = service;
    this.#name = name;
    this.#answers = new ByteReader(service.stdout);
    // When the script has ended, the missing answer is the error that is reported.
    service.stdin.on('error', () => undefined);
  }

  /**
   * Must be called before all requests.
   * @throws UsageError when there is no such file, or it is not a regular file; FailedError
   */
  async head(): Promise<FileHead> {
    try {
      return await this.#inTurn(async () => parseHead(await this.#line()));
    } catch (error) {
      const { stderr } = await this.#service.ended;
      if (/^(no such file|it is not a regular file)$/.test(stderr)) {
        throw new UsageError(`cannot open bundle ${this.#name}: ${stderr}`, {
          cause: error,
          code: stderr === 'no such file' ? 'bundle-not-found' : undefined,
          facts: { bundle: this.#name },
        });
      }
      throw error;
    }
  }

  /** Asks for bytes that the file has. @throws FailedError when the script or the connection has ended */
  read(offset: number, length: number): Promise<Buffer> {
    this.#service.stdin.write(`${offset} ${length}\n`);
    return this.#inTurn(() => this.#answers.take(length));
  }

  async close(): Promise<void> {
    this.#service.stdin.end();
    await this.#service.stop();
  }

  #inTurn<T>(read: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(read).catch(async () => {
      throw await this.#lost();
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #lost(): Promise<OnevmdumpError> {
    const { stderr, lost } = await this.#service.ended;
    const doing = `cannot read bundle ${this.#name}`;
    if (lost) return new ConnectionError(`${doing}: ${lost.message}`, lost);
    return new FailedError(`${doing}: ${stderr || 'the reader there has ended'}`);
  }

  async #line(): Promise<string> {
    let text = '';
    while (!text.endsWith('\n')) {
      if (text.length >= longestLine) throw new Error('a line that does not end');
      text += (await this.#answers.take(1)).toString('latin1');
    }
    return text;
  }
}

/** Size in bytes and time in epoch seconds, as stat prints them. */
function parseHead(text: string): FileHead {
  const [, size, seconds] = /^(\d{1,15}) (\d{1,12})\n$/.exec(text) ?? [];
  if (size === undefined) throw new Error(`unexpected answer ${text}`);
  return { size: Number(size), modified: new Date(Number(seconds) * 1000) };
}
