// Lays out a stand-alone qcow2 file as a stream: the allocation map is known before the data, so all tables can
// be computed and written first, and no seek is needed. Order: header, refcount table, refcount blocks,
// L1 table, L2 tables, data clusters in guest order. Source: QEMU, docs/interop/qcow2.txt.
import { alignExtents } from '../read/aligned-extents.ts';
import type { Extents } from '../read/extents.ts';
import { UnsupportedError } from '../report/errors.ts';
import {
  clusterBits,
  entryFlag,
  entrySize,
  largestL1,
  largestRefcountTable,
  sectorSize,
} from './format.ts';
import { writeQcow2Header } from './header-writer.ts';
import { neededL1Entries } from './header.ts';
import { writeEntry } from './table-entries.ts';

/** A run of guest clusters that hold data. */
interface Run {
  readonly first: number;
  readonly count: number;
}

export interface Qcow2Layout {
  /** Bytes of the whole file. */
  readonly fileSize: number;
  /** What to read: the extents rounded to clusters, but not beyond the end of the disk. */
  readonly extents: Extents;
  /** Bytes of zeros after the data, up to the end of the last cluster. */
  readonly padding: number;
  /** Everything before the data, in pieces, because the L2 tables of a large disk take 128 MiB for each TiB. */
  metadata(): Generator<Buffer>;
}

/** Bytes: refcounts have 16 bits. */
const refcountSize = 2;
const { copied } = entryFlag;

/**
 * Lays out a qcow2 version 3 file.
 * @param virtualSize bytes, a multiple of 512; may be 0
 * @param clusterSize bytes, a power of two from 512 to 2 MiB
 * @throws UnsupportedError when qcow2 cannot hold such a disk
 */
export function layOutQcow2(
  virtualSize: number,
  clusterSize: number,
  extents: Extents,
): Qcow2Layout {
  checkSizes(virtualSize, clusterSize);
  const clustersFor = (bytes: number) => Math.ceil(bytes / clusterSize);
  const l2Entries = clusterSize / entrySize;
  const aligned = alignExtents(extents, clusterSize, virtualSize);
  const l1Size = neededL1Entries({ virtualSize, clusterSize, l2EntrySize: entrySize });
  const l1Clusters = clustersFor(l1Size * entrySize);
  const l1Used = usedL1Entries(runsOf(aligned, clusterSize), l2Entries);
  // Only the last cluster may be cut, by the end of the disk.
  const dataClusters = clustersFor(aligned.dataBytes);
  const refcount = countRefcounts(1 + l1Clusters + l1Used.length + dataClusters, clusterSize);
  if (
    l1Size * entrySize > largestL1 ||
    refcount.tableClusters * clusterSize > largestRefcountTable
  ) {
    throw cannotWrite(virtualSize, clusterSize, 'its clusters are too small for such a large disk');
  }

  // The numbers of clusters, in the order of the file.
  const firstBlock = 1 + refcount.tableClusters;
  const firstL1 = firstBlock + refcount.blocks;
  const firstL2 = firstL1 + l1Clusters;
  const firstData = firstL2 + l1Used.length;

  function* metadata(): Generator<Buffer> {
    yield writeQcow2Header({
      clusterSize,
      virtualSize,
      l1Entries: l1Size,
      l1Offset: firstL1 * clusterSize,
      refcountTableOffset: clusterSize,
      refcountTableClusters: refcount.tableClusters,
    });
    const blocks = Array.from({ length: refcount.blocks }, (_, index) => index);
    yield table(blocks, refcount.tableClusters, firstBlock, 0);
    yield* refcountBlocks(firstData + dataClusters, clusterSize);
    if (l1Clusters > 0) yield table(l1Used, l1Clusters, firstL2, copied);
    yield* l2Tables(runsOf(aligned, clusterSize), clusterSize, firstData);
  }

  /** A table whose entries `indexes` point at one cluster after another, beginning with `first`. */
  function table(
    indexes: readonly number[],
    clusters: number,
    first: number,
    flag: number,
  ): Buffer {
    const bytes = Buffer.alloc(clusters * clusterSize);
    for (const [n, index] of indexes.entries()) {
      writeEntry(bytes, index, (first + n) * clusterSize, flag);
    }
    return bytes;
  }

  return {
    fileSize: (firstData + dataClusters) * clusterSize,
    extents: aligned,
    padding: dataClusters * clusterSize - aligned.dataBytes,
    metadata,
  };
}

function checkSizes(virtualSize: number, clusterSize: number): void {
  const bits = Math.log2(clusterSize);
  if (!Number.isInteger(bits) || bits < clusterBits.least || bits > clusterBits.most) {
    throw cannotWrite(virtualSize, clusterSize, 'clusters have 512 bytes to 2 MiB, a power of two');
  }
  if (virtualSize % sectorSize !== 0) {
    throw cannotWrite(virtualSize, clusterSize, 'its size is not a multiple of 512 bytes');
  }
}

function cannotWrite(virtualSize: number, clusterSize: number, why: string): UnsupportedError {
  return new UnsupportedError(
    `cannot write a qcow2 disk of ${virtualSize} bytes with clusters of ${clusterSize} bytes: ${why}`,
  );
}

/** The extents as runs of clusters. */
function* runsOf(aligned: Extents, clusterSize: number): Generator<Run> {
  for (const { offset, length } of aligned) {
    yield { first: offset / clusterSize, count: Math.ceil(length / clusterSize) };
  }
}

/** Indexes of the L1 entries that need an L2 table, ascending. */
function usedL1Entries(runs: Iterable<Run>, l2Entries: number): number[] {
  const used: number[] = [];
  let next = 0;
  for (const { first, count } of runs) {
    const last = Math.floor((first + count - 1) / l2Entries);
    for (next = Math.max(next, Math.floor(first / l2Entries)); next <= last; next++)
      used.push(next);
  }
  return used;
}

/** The refcounts also cover their own blocks and table, so both grow until everything is covered. */
function countRefcounts(otherClusters: number, clusterSize: number) {
  let blocks = 0;
  let tableClusters = 0;
  for (;;) {
    const total = otherClusters + blocks + tableClusters;
    const moreBlocks = Math.ceil((total * refcountSize) / clusterSize);
    const moreTable = Math.ceil((moreBlocks * entrySize) / clusterSize);
    if (moreBlocks === blocks && moreTable === tableClusters) return { blocks, tableClusters };
    blocks = moreBlocks;
    tableClusters = moreTable;
  }
}

/** A refcount of one for each cluster of the file, and zeros after them. */
function* refcountBlocks(total: number, clusterSize: number): Generator<Buffer> {
  const one = Buffer.from([0, 1]);
  const full = Buffer.alloc(clusterSize, one);
  let left = total * refcountSize;
  for (; left >= clusterSize; left -= clusterSize) yield full;
  if (left > 0) yield Buffer.alloc(clusterSize).fill(one, 0, left);
}

function* l2Tables(runs: Iterable<Run>, clusterSize: number, firstData: number): Generator<Buffer> {
  const l2Entries = clusterSize / entrySize;
  let table: Buffer | undefined;
  let tableIndex = -1;
  let data = firstData;
  for (const { first, count } of runs) {
    for (let cluster = first; cluster < first + count; cluster++) {
      const index = Math.floor(cluster / l2Entries);
      if (!table || index !== tableIndex) {
        if (table) yield table;
        table = Buffer.alloc(clusterSize);
        tableIndex = index;
      }
      writeEntry(table, cluster % l2Entries, data * clusterSize, copied);
      data += 1;
    }
  }
  if (table) yield table;
}
