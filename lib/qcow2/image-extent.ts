// Checks that the file of a qcow2 image has everything that the image refers to. A copy that was interrupted, or a full
// disk, leaves a file that ends too early: QEMU reads what is missing as zeros, without an error. Only tables are read,
// never data.
// Format: QEMU, docs/interop/qcow2.txt.
import { FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';
import { fileRanges, regularFileSize, type FileRange } from '../tools/file-facts.ts';
import { entrySize } from './format.ts';
import { neededL1Entries, type Qcow2Header } from './header.ts';
import { endOfData, hostOffset, hostOffsets } from './table-entries.ts';

/** Bytes of tables that are in memory at a time. */
const batchBytes = 8 * 1024 * 1024;
const batchRanges = 256;
/** How many of the last refcount blocks in use are read. */
const lastBlocks = 4;

interface File {
  readonly runner: Runner;
  readonly path: string;
  readonly what: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * Requires that the file has everything that the image refers to. A file that ends inside its last data cluster
 * is whole: QEMU writes such files.
 * @param what the layer, for messages.
 * @throws FailedError for a file that was cut short.
 */
export async function requireWhole(
  header: Qcow2Header,
  path: string,
  what: string,
  runner: Runner,
): Promise<void> {
  const look = async (): Promise<{ readonly size: number; readonly end: number }> => {
    const file = { runner, path, what, size: await regularFileSize(runner, path, what) };
    return { size: file.size, end: await neededEnd(header, file) };
  };
  const first = await look();
  if (first.end <= first.size) return;
  // A running guest makes the file grow while it is looked at, so the file is looked at again.
  const { size, end } = await look();
  if (end <= size) return;
  throw new FailedError(
    `${what} was cut short: the file has ${size} bytes, but the image refers to data up to byte ${end}; check it with: qemu-img check -f qcow2 ${path}`,
  );
}

/** Returns how many bytes the file must have at least. That is more than its size if something is missing. */
async function neededEnd(header: Qcow2Header, file: File): Promise<number> {
  const { clusterSize } = header;
  const l1 = { offset: header.l1Offset, length: neededL1Entries(header) * entrySize };
  const l1End = l1.offset + l1.length;
  if (l1End > file.size) return l1End;
  const refcountTable = {
    offset: header.refcountTableOffset,
    length: header.refcountTableClusters * clusterSize,
  };
  const withRefcounts = !header.isDirty && refcountTable.offset + refcountTable.length <= file.size;
  const [l1Table = Buffer.alloc(0), blockTable] = await fileRanges(
    file.runner,
    file.path,
    withRefcounts ? [l1, refcountTable] : [l1],
    file.what,
  );
  const l2Offsets = hostOffsets(l1Table);
  const lastTable = l2Offsets.reduce((max, offset) => Math.max(max, offset + clusterSize), 0);
  if (lastTable > file.size) return lastTable;
  if (blockTable) {
    // Every cluster in use has a refcount, so the L2 tables of most images need not be read.
    const end = await lastCountedEnd(blockTable, header, file);
    if (end !== undefined && end >= Math.max(l1End, lastTable) && end <= file.size) return end;
  }
  return Math.max(l1End, lastTable, await lastDataEnd(l2Offsets, header, file));
}

/** Where the last cluster with a refcount ends; undefined when that is not known. */
async function lastCountedEnd(
  blockTable: Buffer,
  { clusterSize, refcountBits }: Qcow2Header,
  file: File,
): Promise<number | undefined> {
  const blocks: { readonly index: number; readonly offset: number }[] = [];
  for (let index = blockTable.length / entrySize - 1; index >= 0; index--) {
    const offset = hostOffset(blockTable, index * entrySize);
    if (offset === 0) continue;
    if (offset + clusterSize > file.size) return undefined;
    blocks.push({ index, offset });
    if (blocks.length === lastBlocks) break;
  }
  const contents = await fileRanges(
    file.runner,
    file.path,
    blocks.map(({ offset }) => ({ offset, length: clusterSize })),
    file.what,
  );
  const perBlock = (clusterSize * 8) / refcountBits;
  for (const [at, { index }] of blocks.entries()) {
    const last = lastNonZeroByte(contents[at] ?? Buffer.alloc(0));
    if (last < 0) continue;
    // The last entry that has a bit in this byte. If entries are smaller than a byte, the last one has the highest bits.
    const entry = Math.floor(((last + 1) * 8 - 1) / refcountBits);
    return (index * perBlock + entry + 1) * clusterSize;
  }
  return undefined;
}

function lastNonZeroByte(bytes: Buffer): number {
  for (let at = bytes.length - 1; at >= 0; at--) if (bytes[at] !== 0) return at;
  return -1;
}

/** One byte after the start of the last cluster with data, or of the last sector of compressed data. */
async function lastDataEnd(
  l2Offsets: readonly number[],
  header: Qcow2Header,
  file: File,
): Promise<number> {
  let end = 0;
  for (const batch of batches(joined(l2Offsets, header.clusterSize))) {
    for (const table of await fileRanges(file.runner, file.path, batch, file.what)) {
      end = Math.max(end, endOfData(table, header));
    }
  }
  return end;
}

/** Joins neighbouring tables into one range, of at most `batchBytes`. */
function joined(offsets: readonly number[], length: number): readonly FileRange[] {
  const ranges: FileRange[] = [];
  for (const offset of offsets) {
    const last = ranges.at(-1);
    if (last && last.offset + last.length === offset && last.length + length <= batchBytes) {
      ranges[ranges.length - 1] = { offset: last.offset, length: last.length + length };
    } else {
      ranges.push({ offset, length });
    }
  }
  return ranges;
}

function* batches(ranges: readonly FileRange[]): Iterable<readonly FileRange[]> {
  let batch: FileRange[] = [];
  let bytes = 0;
  for (const range of ranges) {
    if (batch.length === batchRanges || (batch.length > 0 && bytes + range.length > batchBytes)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(range);
    bytes += range.length;
  }
  if (batch.length > 0) yield batch;
}
