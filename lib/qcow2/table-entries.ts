// The entries of L1, L2 and refcount tables: 8 bytes each (16 in an L2 table with subclusters). Bits 9 to 55 are the
// offset of a cluster. Source: QEMU, docs/interop/qcow2.txt.
import {
  entryFlag,
  entrySize,
  extendedEntrySize,
  offsetBitsHigh,
  sectorSize,
  zeroFlag,
} from './format.ts';
import type { Qcow2Header } from './header.ts';

/** Writes the entry for a cluster at `address` (bytes in the file). @param flag of `entryFlag`, or 0 */
export function writeEntry(table: Buffer, index: number, address: number, flag: number): void {
  table.writeUInt32BE(flag + Math.floor(address / 2 ** 32), index * entrySize);
  table.writeUInt32BE(address % 2 ** 32, index * entrySize + 4);
}

/** The entries of a part of a table, unchanged: the flag `copied`, and all other bits, even those without a meaning. */
export function* exactEntries(part: Buffer) {
  for (let index = 0; index < part.length / entrySize; index++) {
    const high = part.readUInt32BE(index * entrySize);
    const flags = high >= entryFlag.copied ? entryFlag.copied : 0;
    yield {
      index,
      flags,
      value: (high - flags) * 2 ** 32 + part.readUInt32BE(index * entrySize + 4),
    };
  }
}

/**
 * One byte after the start of the last cluster with data to which an L2 table refers, or of the last sector of
 * compressed data.
 * @returns 0 when it refers to no data
 */
export function endOfData(table: Buffer, { clusterSize, l2EntrySize }: Qcow2Header): number {
  const isExtended = l2EntrySize === extendedEntrySize;
  // How many bits of the descriptor of a compressed cluster are its offset; the others count sectors.
  const offsetBits = 62 - (Math.log2(clusterSize) - 8);
  let end = 0;
  for (let at = 0; at < table.length; at += l2EntrySize) {
    const high = table.readUInt32BE(at);
    if ((high & entryFlag.compressed) !== 0) {
      end = Math.max(end, compressedEnd(table.readBigUInt64BE(at), offsetBits));
      continue;
    }
    const offset = hostOffset(table, at);
    // A cluster that reads as zeros, as a whole or in all its subclusters, needs no bytes in the file.
    const zero = isExtended
      ? table.readUInt32BE(at + 12) === 0
      : (table.readUInt32BE(at + 4) & zeroFlag) !== 0;
    if (offset !== 0 && !zero) end = Math.max(end, offset + 1);
  }
  return end;
}

/** Compressed data can end anywhere in its last sector, so only one byte of that sector must be there. */
function compressedEnd(entry: bigint, offsetBits: number): number {
  const descriptor = entry & 0x3fffffffffffffffn;
  const offset = Number(descriptor & ((1n << BigInt(offsetBits)) - 1n));
  const moreSectors = Number(descriptor >> BigInt(offsetBits));
  return (Math.floor(offset / sectorSize) + moreSectors) * sectorSize + 1;
}

/** The offset of a cluster in the entry at byte `at` of a table: bits 9 to 55. */
export function hostOffset(table: Buffer, at: number): number {
  const high = table.readUInt32BE(at) & offsetBitsHigh;
  const low = table.readUInt32BE(at + 4);
  return high * 2 ** 32 + (low - (low % sectorSize));
}

/** The offsets in a table that are not zero, ascending, each once. */
export function hostOffsets(table: Buffer): readonly number[] {
  const found = new Set<number>();
  for (let at = 0; at < table.length; at += entrySize) found.add(hostOffset(table, at));
  found.delete(0);
  return [...found].sort((one, other) => one - other);
}
