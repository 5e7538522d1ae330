// The sparse formats of GNU tar, read into one kind of map. Source: GNU tar manual, "Storing Sparse
// Files" (PAX formats 0.0, 0.1 and 1.0) and "Basic Tar Format" (the old format, typeflag S).
import { BundleError } from '../../report/errors.ts';
import type { ByteReader } from './byte-reader.ts';
import { ExtentMap } from './extent-map.ts';
import { paxNumber, type PaxHeader } from './pax-records.ts';

const blockSize = 512;

/**
 * Reads the map of a member, up to the start of its data.
 * @param oldGnuBlock the header block of a member with typeflag S
 * @param stored bytes of the member in the archive
 * @throws BundleError when the map is not valid, or does not add up to `stored`
 */
export async function readSparse(
  input: ByteReader,
  oldGnuBlock: Buffer | undefined,
  pax: PaxHeader,
  stored: number,
): Promise<ExtentMap> {
  const start = input.position;
  const map = await readMap(input, oldGnuBlock, pax, stored);
  // A 1.0 map is part of the member's data; the blocks that follow an old GNU header are not.
  const mapBytes = oldGnuBlock ? 0 : input.position - start;
  if (mapBytes + map.dataBytes !== stored) {
    throw new BundleError(
      `its sparse map adds up to ${mapBytes + map.dataBytes} bytes, but it has ${stored}`,
    );
  }
  return map;
}

async function readMap(
  input: ByteReader,
  oldGnuBlock: Buffer | undefined,
  pax: PaxHeader,
  stored: number,
): Promise<ExtentMap> {
  const { values, isSparse } = pax;
  if (oldGnuBlock && isSparse) throw new BundleError('it is sparse in two formats at once');
  if (oldGnuBlock) return readOldGnu(input, oldGnuBlock);
  if (!isSparse) return ExtentMap.whole(stored);
  const major = values.get('GNU.sparse.major');
  const minor = values.get('GNU.sparse.minor');
  if (major === '1' && minor === '0') return readPax1(input, realSize(pax), stored);
  if (major !== undefined || minor !== undefined) {
    throw new BundleError('it is sparse in an unknown PAX format');
  }
  return readPax0(pax);
}

function realSize({ values }: PaxHeader): number {
  const key = 'GNU.sparse.realsize';
  const value = values.get(key) ?? values.get('GNU.sparse.size');
  if (value === undefined) throw new BundleError('its sparse size is missing');
  return paxNumber(value, key);
}

/** Format 0.1 has all numbers in one record, 0.0 repeats two records. Both also have the number of extents. */
function readPax0(pax: PaxHeader): ExtentMap {
  const key = 'GNU.sparse.numblocks';
  const count = paxNumber(pax.values.get(key) ?? '', key);
  if (pax.mapEntries !== count)
    throw new BundleError(`its sparse map should have ${count} extents`);
  const map = pax.map ?? new ExtentMap();
  map.limitTo(realSize(pax));
  return map;
}

/** Decimal numbers, one a line, before the data: the count, then offset and length of each extent. */
async function readPax1(input: ByteReader, size: number, stored: number): Promise<ExtentMap> {
  const map = new ExtentMap(size);
  let expected: number | undefined;
  let offset: number | undefined;
  let number = 0;
  let digits = 0;
  let read = 0;

  /** @returns true after the last number */
  function endOfLine(): boolean {
    if (digits === 0 || !Number.isSafeInteger(number)) throw notSound();
    if (expected === undefined) {
      expected = number;
    } else if (offset === undefined) {
      offset = number;
    } else {
      map.add(offset, number);
      offset = undefined;
      expected -= 1;
    }
    number = 0;
    digits = 0;
    return expected === 0 && offset === undefined;
  }

  for (;;) {
    read += blockSize;
    if (read > stored) throw new BundleError('its sparse map is longer than the member');
    for (const byte of await input.take(blockSize)) {
      if (byte === 0x0a) {
        if (endOfLine()) return map;
      } else if (byte >= 0x30 && byte <= 0x39 && digits < 16) {
        number = number * 10 + byte - 0x30;
        // GNU tar and bsdtar skip leading zeros.
        if (number > 0 || digits === 0) digits += 1;
      } else {
        throw notSound();
      }
    }
  }
}

function notSound(): BundleError {
  return new BundleError('its sparse map is not a list of numbers');
}

/** Four extents are in the header, and 21 in each block that follows. A flag in each says whether another one follows. */
async function readOldGnu(input: ByteReader, header: Buffer): Promise<ExtentMap> {
  const map = new ExtentMap(tarNumber(header, 483));
  let ended = addOldGnu(map, header, 386, 4);
  for (let more = header[482]; more !== 0;) {
    const block = await input.take(blockSize);
    if (ended) throw new BundleError('its sparse map goes on after its end');
    ended = addOldGnu(map, block, 0, 21);
    more = block[504];
  }
  return map;
}

/** @returns true when an unused entry ended the map. */
function addOldGnu(map: ExtentMap, block: Buffer, start: number, count: number): boolean {
  for (let at = start; at < start + count * 24; at += 24) {
    if (block[at + 12] === 0) return true;
    map.add(tarNumber(block, at), tarNumber(block, at + 12));
  }
  return false;
}

/** A 12-byte number of a tar header: octal text, or base-256 with the first bit set. */
function tarNumber(block: Buffer, at: number): number {
  const field = block.subarray(at, at + 12);
  let number: number;
  if (field[0] === 0x80) {
    number = Number(BigInt(`0x${field.toString('hex', 1)}`));
  } else {
    const text = /^ *([0-7]{1,12})[ \0]*$/.exec(field.toString('latin1'))?.[1];
    number = parseInt(text ?? '', 8);
  }
  if (Number.isSafeInteger(number)) return number;
  throw new BundleError('its sparse map has a number that is not valid');
}
