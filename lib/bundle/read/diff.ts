// Compares two bundles by the hashes of their regions: nothing is unpacked but the region tables.
import { BundleError } from '../../report/errors.ts';
import { zeroRegionHash } from '../format/region-hash.ts';
import type { RegionFacts } from '../format/region-table.ts';
import type { Bundle, BundleDisk } from './bundle.ts';
import type { RegionTable } from './disk-regions.ts';

/** A part of a disk, in bytes. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

export interface DiskDifference {
  /** DISK_ID. */
  readonly id: number;
  /** `first`, `second`: only that bundle has the disk. */
  readonly in: 'both' | 'first' | 'second';
  /** As the guest sees it, in bytes; null where the bundle does not have it. */
  readonly virtualSizes: readonly [number | null, number | null];
  /** How many of how many regions differ. Regions that only the larger disk has differ unless they are zeros. */
  readonly differentRegions: number;
  readonly regions: number;
  /** Bytes. */
  readonly regionSize: number;
  /** The regions that differ, neighbours joined; no more than `mostRanges`. */
  readonly ranges: readonly Range[];
}

/** More do not help anybody who reads them, and would take memory. */
export const mostRanges = 10_000;

/**
 * Compares the disks of two bundles by their ids.
 * @throws BundleError when a bundle has no index, or is damaged
 */
export async function diffBundles(
  first: Bundle,
  second: Bundle,
): Promise<readonly DiskDifference[]> {
  const ids = new Set([...first.disks, ...second.disks].map(({ id }) => id));
  const differences: DiskDifference[] = [];
  for (const id of [...ids].sort((one, other) => one - other)) {
    const tables = [await tableOf(first, id), await tableOf(second, id)] as const;
    differences.push(await diffDisk(id, tables));
  }
  return differences;
}

async function tableOf(bundle: Bundle, id: number): Promise<RegionTable | undefined> {
  const disk = bundle.disks.find((one) => one.id === id);
  return disk && (await indexedTable(bundle, disk));
}

async function indexedTable({ name }: Bundle, disk: BundleDisk): Promise<RegionTable> {
  if (disk.table) return await disk.table();
  throw new BundleError(
    `bundle ${name} has no index, and so no region tables that could be compared`,
  );
}

async function diffDisk(
  id: number,
  [first, second]: readonly [RegionTable | undefined, RegionTable | undefined],
): Promise<DiskDifference> {
  const known = first ?? second;
  if (!known) throw new Error(`neither bundle has disk ${id}`);
  const virtualSizes = [
    first?.header.virtualSize ?? null,
    second?.header.virtualSize ?? null,
  ] as const;
  const facts = { id, virtualSizes, regionSize: known.regionSize };
  if (!first || !second) {
    const range = { offset: 0, length: known.header.virtualSize };
    const counts = { differentRegions: known.count, regions: known.count };
    return { ...facts, in: first ? 'first' : 'second', ...counts, ranges: [range] };
  }
  if (first.regionSize !== second.regionSize) {
    // Only disks of more than a TiB have other regions than of 1 MiB.
    const length = Math.max(first.header.virtualSize, second.header.virtualSize);
    const regions = Math.max(first.count, second.count);
    const all = { differentRegions: regions, regions, ranges: [{ offset: 0, length }] };
    return { ...facts, in: 'both', ...all };
  }
  return { ...facts, in: 'both', ...(await diffRegions(first, second)) };
}

async function diffRegions(first: RegionTable, second: RegionTable) {
  const { regionSize } = first;
  const end = Math.max(first.header.virtualSize, second.header.virtualSize);
  const ranges: { offset: number; length: number }[] = [];
  let differentRegions = 0;
  let regions = 0;
  const [ones, others] = [first.regions(), second.regions()];
  for (;;) {
    const [one, other] = [await ones.next(), await others.next()];
    if (one.done === true && other.done === true) break;
    const offset = regions * regionSize;
    regions += 1;
    if (sameRegion(valueOf(one), valueOf(other))) continue;
    differentRegions += 1;
    const length = Math.min(regionSize, end - offset);
    const last = ranges.at(-1);
    if (last && last.offset + last.length === offset) last.length += length;
    else if (ranges.length < mostRanges) ranges.push({ offset, length });
  }
  return { differentRegions, regions, ranges };
}

function valueOf(result: IteratorResult<RegionFacts, void>): RegionFacts | undefined {
  return result.done === true ? undefined : result.value;
}

/** A region beyond the end of the smaller disk counts as zeros. */
function sameRegion(one: RegionFacts | undefined, other: RegionFacts | undefined): boolean {
  return (one?.hash ?? zeroRegionHash).equals(other?.hash ?? zeroRegionHash);
}
