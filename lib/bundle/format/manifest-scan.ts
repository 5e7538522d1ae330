// The first pass over a manifest.json that is not trusted, while it arrives from the archive. It limits everything that
// would take memory, before JSON.parse sees any of it. The lists of frames, which may have millions of numbers, go into
// their own tables. The rest is small.
import { BundleError } from '../../report/errors.ts';
import { FrameTable } from './frame-table.ts';
import { FrameListScan } from './frame-list-scan.ts';
import { mostMembers } from './manifest.ts';

/** Bytes of the JSON without its lists of frames. */
const largestRest = 16 * 1024 * 1024;
/** Levels of nested objects and lists. A real manifest has five. */
const deepest = 16;
/** Values, except those of frames. A disk has a few dozen. */
const mostValues = 100_000;
/** The keys that matter here are shorter. */
const longestKey = 16;

const code = (mark: string) => mark.charCodeAt(0);
const [quote, backslash, comma, colon] = [code('"'), code('\\'), code(','), code(':')];
const [openObject, closeObject, openList, closeList] = [code('{'), code('}'), code('['), code(']')];

interface Level {
  readonly isObject: boolean;
  /** In an object: the key whose value comes next. */
  key: string;
  /** In a list: how many values came before. */
  index: number;
}

/** The rest of the JSON: each list of frames is replaced by the number of its table. */
export interface ScannedManifest {
  readonly json: Buffer;
  readonly tables: readonly FrameTable[];
}

export class ManifestScan {
  readonly #levels: Level[] = [];
  readonly #rest: Buffer[] = [];
  readonly #tables: FrameTable[] = [];
  #restBytes = 0;
  #values = 0;
  #inText = false;
  #escaped = false;
  /** The key that is being read; undefined if the text that is being read is a value. */
  #key: string | undefined;
  #keyExpected = false;
  #frames: FrameListScan | undefined;

  /** Scans the next bytes. @throws BundleError */
  push(chunk: Uint8Array): void {
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      if (this.#frames) {
        at = this.#frames.push(chunk, at);
        if (!this.#frames.ended) return;
        this.#frames = undefined;
        from = at + 1;
        continue;
      }
      const byte = chunk[at] ?? 0;
      if (this.#inText) this.#text(byte);
      else if (byte === openList && this.#isFrames()) {
        this.#keep(chunk.subarray(from, at));
        this.#beginFrames();
        from = chunk.length;
      } else this.#mark(byte);
    }
    if (!this.#frames) this.#keep(chunk.subarray(from));
  }

  /** To be called after the last byte. */
  end(): ScannedManifest {
    if (this.#frames) throw new BundleError('manifest.json is not JSON');
    return { json: Buffer.concat(this.#rest), tables: this.#tables };
  }

  /** Whether the list that begins is `members[n].frames`. */
  #isFrames(): boolean {
    const [root, members, member, ...more] = this.#levels;
    return (
      more.length === 0 &&
      member?.isObject === true &&
      member.key === 'frames' &&
      members?.isObject === false &&
      root?.isObject === true &&
      root.key === 'members'
    );
  }

  #beginFrames(): void {
    if (this.#tables.length >= mostMembers) {
      throw new BundleError(`manifest.json has more than ${mostMembers} lists of frames`);
    }
    const table = new FrameTable();
    const taken = this.#tables.reduce((sum, { length }) => sum + length, 0);
    const place = `members[${this.#levels[1]?.index ?? 0}].frames`;
    this.#frames = new FrameListScan(table, place, taken);
    this.#keep(Buffer.from(String(this.#tables.length)));
    this.#tables.push(table);
    this.#count();
  }

  /** A byte within a text; the closing quote ends it. */
  #text(byte: number): void {
    if (this.#escaped) {
      this.#escaped = false;
    } else if (byte === backslash) {
      this.#escaped = true;
    } else if (byte === quote) {
      this.#inText = false;
      const level = this.#levels.at(-1);
      if (this.#key !== undefined && level) level.key = this.#key;
      this.#key = undefined;
      return;
    }
    if (this.#key !== undefined && this.#key.length < longestKey) {
      this.#key += String.fromCharCode(byte);
    }
  }

  /** A byte between texts. */
  #mark(byte: number): void {
    const level = this.#levels.at(-1);
    switch (byte) {
      case quote:
        this.#inText = true;
        if (this.#keyExpected) this.#key = '';
        return;
      case colon:
        this.#keyExpected = false;
        return;
      case comma:
        this.#count();
        if (level?.isObject === true) this.#keyExpected = true;
        else if (level) level.index += 1;
        return;
      case openObject:
      case openList:
        this.#count();
        this.#levels.push({ isObject: byte === openObject, key: '', index: 0 });
        this.#keyExpected = byte === openObject;
        if (this.#levels.length > deepest) {
          throw new BundleError(`manifest.json is nested more than ${deepest} deep`);
        }
        return;
      case closeObject:
      case closeList:
        this.#levels.pop();
        this.#keyExpected = false;
    }
  }

  #count(): void {
    this.#values += 1;
    if (this.#values > mostValues) {
      throw new BundleError(`manifest.json has more than ${mostValues} values`);
    }
  }

  #keep(part: Uint8Array): void {
    this.#restBytes += part.length;
    if (this.#restBytes > largestRest) {
      throw new BundleError(
        `manifest.json has more than ${largestRest} bytes besides its lists of frames`,
      );
    }
    // Copied, because the piece itself would keep the whole chunk in memory.
    this.#rest.push(Buffer.from(part));
  }
}
