// Parses the list of a member's frames in manifest.json, number by number, while it arrives in pieces:
// [[offset, stored, length, crc32], ...].
import { BundleError } from '../../report/errors.ts';
import type { FrameTable } from './frame-table.ts';

/** Bytes of the tar stream in one frame: docs/bundle-format.md. */
export const largestFrame = 32 * 1024 * 1024;
/** More frames than 16 TiB of data have. */
const mostFrames = 2_500_000;
/** The largest values of a frame's four numbers. */
const largest = [Number.MAX_SAFE_INTEGER, 2 * largestFrame, largestFrame, 0xffffffff];

const code = (mark: string) => mark.charCodeAt(0);
const [open, close, comma] = [code('['), code(']'), code(',')];
const [zero, nine] = [code('0'), code('9')];
const blanks = new Set([' ', '\t', '\r', '\n'].map(code));

/** What may come next. */
type State =
  | 'a frame or the end'
  | 'a frame'
  | 'a comma or the end'
  | 'a number'
  | 'digits'
  | 'a comma or the end of a frame';

export class FrameListScan {
  ended = false;
  readonly #table: FrameTable;
  readonly #place: string;
  readonly #taken: number;
  #state: State = 'a frame or the end';
  readonly #numbers: number[] = [];
  #number = 0;
  #digits = 0;

  /**
   * For the part of the list after its opening bracket.
   * @param table gets the frames
   * @param place for messages: `members[1].frames`
   * @param taken how many frames other lists have
   */
  constructor(table: FrameTable, place: string, taken: number) {
    this.#table = table;
    this.#place = place;
    this.#taken = taken;
  }

  /** Reads from `at` on. @returns the index of the last byte that was read; `ended` is true after the list's end */
  push(chunk: Uint8Array, at: number): number {
    for (let index = at; index < chunk.length; index++) {
      this.#byte(chunk[index] ?? 0);
      if (this.ended) return index;
    }
    return chunk.length;
  }

  #byte(byte: number): void {
    if (byte >= zero && byte <= nine) {
      this.#digit(byte - zero);
      return;
    }
    if (this.#state === 'digits') this.#endNumber();
    if (blanks.has(byte)) return;
    switch (this.#state) {
      case 'a frame or the end':
      case 'a frame':
        if (byte === open) {
          this.#go('a number');
          return;
        }
        if (byte === close && this.#state !== 'a frame') {
          this.#end();
          return;
        }
        break;
      case 'a comma or the end':
        if (byte === comma) {
          this.#go('a frame');
          return;
        }
        if (byte === close) {
          this.#end();
          return;
        }
        break;
      case 'a comma or the end of a frame':
        if (byte === comma) {
          this.#go('a number');
          return;
        }
        if (byte === close) {
          this.#endFrame();
          return;
        }
        break;
      case 'a number':
      case 'digits':
        if (byte === close) throw this.#wrong('a list of four numbers');
        throw this.#noNumber();
    }
    throw this.#wrong('a list of four numbers');
  }

  #go(state: State): void {
    this.#state = state;
  }

  #digit(digit: number): void {
    if (this.#state === 'a number') this.#go('digits');
    if (this.#state !== 'digits') throw this.#wrong('a list of four numbers');
    this.#number = this.#number * 10 + digit;
    this.#digits += 1;
    if (this.#digits > 16) throw this.#noNumber();
  }

  #endNumber(): void {
    const most = largest[this.#numbers.length];
    if (most === undefined) throw this.#wrong('a list of four numbers');
    if (this.#number > most) throw this.#noNumber();
    this.#numbers.push(this.#number);
    this.#number = 0;
    this.#digits = 0;
    this.#go('a comma or the end of a frame');
  }

  #endFrame(): void {
    const [offset, stored, length, crc32] = this.#numbers;
    if (
      offset === undefined ||
      stored === undefined ||
      length === undefined ||
      crc32 === undefined
    ) {
      throw this.#wrong('a list of four numbers');
    }
    this.#table.push([offset, stored, length, crc32]);
    this.#numbers.length = 0;
    if (this.#taken + this.#table.length > mostFrames) {
      throw new BundleError(`manifest.json has more than ${mostFrames} frames`);
    }
    this.#go('a comma or the end');
  }

  #end(): void {
    this.ended = true;
  }

  #noNumber(): BundleError {
    const most = largest[Math.min(this.#numbers.length, largest.length - 1)];
    return this.#wrong(`a whole number from 0 to ${most}`);
  }

  #wrong(expected: string): BundleError {
    const place = `${this.#place}[${this.#table.length}]`;
    return new BundleError(`manifest.json: ${place} is not ${expected}`);
  }
}
