// Compares the region table of a disk with what was read of the disk.
import { BundleError } from '../../report/errors.ts';
import {
  decodeTableHeader,
  headerSize,
  tableParts,
  type TableHeader,
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
): Promise<TableHeader> {
  requireDense(name, map);
  const header = decodeTableHeader(await input.take(headerSize), map.size);
  if (header.virtualSize !== content.virtualSize) throw wrong('the size of the disk');
  const { regions, end } = tableParts(header);
  await input.skip(regions - headerSize);
  let compared = regions;
  for (const records of regionRecords(content)) {
    compared += records.length;
    if (compared > end || !(await input.take(records.length)).equals(records)) {
      throw wrong('a region');
    }
  }
  if (compared !== end) throw wrong('a region');
  await input.skip(padding);
  return header;
}

function wrong(what: string): BundleError {
  return new BundleError(`its region table says something else about ${what} than was read`);
}
