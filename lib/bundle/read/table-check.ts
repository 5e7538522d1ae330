// Compares the region table of a disk with what was read of the disk.
import { BundleError } from '../../report/errors.ts';
import {
  decodeTableHeader,
  hashSize,
  headerSize,
  regionRecord,
  tableParts,
} from '../format/region-table.ts';
import { regionRecords, type RegionContent } from '../format/region-table-encode.ts';
import type { ByteReader } from './byte-reader.ts';
import { requireDense, type TarMember } from './tar-member.ts';

/**
 * Reads a region table, whose headers have been read, and requires that it describes a disk as it is. Where the frames
 * are is not compared.
 * @throws BundleError when it does not
 */
export async function checkTable(
  input: ByteReader,
  { name, map, padding }: TarMember,
  content: RegionContent,
): Promise<void> {
  requireDense(name, map);
  const { regions, end } = await skipToRegions(input, map.size, content);
  let compared = regions;
  for (const records of regionRecords(content)) {
    compared += records.length;
    if (compared > end || !(await input.take(records.length)).equals(records)) {
      throw wrong('a region');
    }
  }
  if (compared !== end) throw wrong('a region');
  await input.skip(padding);
}

/**
 * The same, but compares only what the disk contains, not how it is stored: another tool may have packed the bundle anew.
 */
export async function checkHashes(
  input: ByteReader,
  { name, map }: TarMember,
  content: RegionContent,
): Promise<void> {
  requireDense(name, map);
  await skipToRegions(input, map.size, content);
  const { hashes } = content;
  for (let at = 0; at < hashes.length; at += hashSize) {
    const record = await input.take(regionRecord);
    const hash = hashes.subarray(at, at + hashSize);
    if (!record.subarray(0, hashSize).equals(hash)) throw wrong('a region');
  }
}

/** @returns where the parts of the table begin */
async function skipToRegions(input: ByteReader, size: number, content: RegionContent) {
  const header = decodeTableHeader(await input.take(headerSize), size);
  if (header.virtualSize !== content.virtualSize) throw wrong('the size of the disk');
  const parts = tableParts(header);
  await input.skip(parts.regions - headerSize);
  return parts;
}

function wrong(what: string): BundleError {
  return new BundleError(`its region table says something else about ${what} than was read`);
}
