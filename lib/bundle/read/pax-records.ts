// The records of a PAX extended header: `<length> <key>=<value>\n`, length in bytes of the whole
// record. Source: POSIX pax, "pax Extended Header File Format". npm's tar reads them too, but it
// drops the GNU.sparse ones and repeated keys, which sparse format 0.0 needs.
import { BundleError } from '../../report/errors.ts';
import { ExtentMap } from './extent-map.ts';

/** The records of a member's PAX header that we use. A header may have millions of records. */
export interface PaxHeader {
  /** The last value of each key that we use (POSIX: the last one applies). */
  readonly values: ReadonlyMap<string, string>;
  readonly isSparse: boolean;
  /** The map of sparse formats 0.0 and 0.1, before `limitTo`. */
  readonly map: ExtentMap | undefined;
  /** The number of extents in the map, including those of length 0. */
  readonly mapEntries: number;
}

const space = 0x20;
const newline = 0x0a;
const equalsSign = 0x3d;
const comma = 0x2c;
const zero = 0x30;
/** Characters, including leading zeros, which GNU tar and bsdtar skip. */
const longestNumber = 32;
/** Bytes of a path or number. */
const longestValue = 4096;

const kept = new Set([
  'path',
  'size',
  'GNU.sparse.major',
  'GNU.sparse.minor',
  'GNU.sparse.name',
  'GNU.sparse.realsize',
  'GNU.sparse.size',
  'GNU.sparse.numblocks',
]);

export const noPax: PaxHeader = {
  values: new Map(),
  isSparse: false,
  map: undefined,
  mapEntries: 0,
};

/** Reads all records in order. @throws BundleError when the header is not well-formed */
export function parsePaxHeader(body: Buffer): PaxHeader {
  const values = new Map<string, string>();
  let isSparse = false;
  const list = new MapReader();
  for (const [key, start, end] of records(body)) {
    isSparse ||= key.startsWith('GNU.sparse.');
    if (key === 'GNU.sparse.map') {
      list.all(body.subarray(start, end));
    } else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      list.one(body.subarray(start, end), key === 'GNU.sparse.offset');
    } else if (kept.has(key)) {
      if (end - start > longestValue) throw new BundleError(`the PAX record ${key} is too long`);
      values.set(key, body.toString('utf8', start, end));
    }
  }
  return { values, isSparse, map: list.map, mapEntries: list.end() };
}

/** Yields each record's key, and the start and end of its value. */
function* records(body: Buffer): Generator<readonly [key: string, start: number, end: number]> {
  for (let at = 0; at < body.length;) {
    let gap = at;
    while (isDigit(body[gap])) gap += 1;
    const end = body[gap] === space ? at + decimal(body, at, gap) : NaN;
    const equals = body.indexOf(equalsSign, gap);
    const whole = equals >= 0 && equals < end && end <= body.length && body[end - 1] === newline;
    if (!whole) throw new BundleError('a PAX header is not well-formed');
    yield [body.toString('utf8', gap + 1, Math.min(equals, gap + 1 + longestValue)), equals + 1, end - 1]; // prettier-ignore
    at = end;
  }
}

/** Reads the maps of formats 0.1 (one record) and 0.0 (two records for each extent). */
class MapReader {
  map: ExtentMap | undefined;
  #entries = 0;
  #offset: number | undefined;

  all(value: Buffer): void {
    // The last record replaces all earlier ones.
    this.map = new ExtentMap();
    this.#entries = 0;
    this.#offset = undefined;
    if (value.length === 0) return;
    for (let at = 0; at <= value.length;) {
      const next = value.indexOf(comma, at);
      const end = next < 0 ? value.length : next;
      this.#add(number(value.subarray(at, end), 'GNU.sparse.map'));
      at = end + 1;
    }
  }

  one(value: Buffer, isOffset: boolean): void {
    this.map ??= new ExtentMap();
    if (isOffset !== (this.#offset === undefined)) {
      throw new BundleError('its sparse map is not in order');
    }
    this.#add(number(value, 'GNU.sparse.map'));
  }

  /** @returns how many extents there were */
  end(): number {
    return this.#offset === undefined ? this.#entries : NaN;
  }

  #add(value: number): void {
    if (this.#offset === undefined) {
      this.#offset = value;
      return;
    }
    this.map?.add(this.#offset, value);
    this.#offset = undefined;
    this.#entries += 1;
  }
}

/** The value of a record as a number of bytes. @throws BundleError when it is not one */
export function paxNumber(value: string, key: string): number {
  return number(Buffer.from(value.slice(0, longestNumber + 1)), key);
}

function number(digits: Buffer, key: string): number {
  const value = decimal(digits, 0, digits.length);
  if (Number.isSafeInteger(value)) return value;
  throw new BundleError(`the PAX record ${key} is not a size`);
}

/** The decimal number in these bytes; NaN when they are not one. */
function decimal(bytes: Buffer, start: number, end: number): number {
  if (start >= end || end - start > longestNumber) return NaN;
  let value = 0;
  for (let at = start; at < end; at++) {
    if (!isDigit(bytes[at])) return NaN;
    value = value * 10 + (bytes[at] ?? 0) - zero;
  }
  return value;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= zero && byte <= zero + 9;
}
