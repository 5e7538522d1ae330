// What the region table of a disk says: region-table-read.ts reads it.
import type { Frame, FrameList } from '../format/manifest.ts';
import type { RegionFacts, TableHeader } from '../format/region-table.ts';

/** Bytes of a region that are stored, in bytes from the start of the region. */
export interface StoredRun {
  readonly start: number;
  readonly length: number;
}

export interface RegionTable {
  readonly header: TableHeader;
  /** Bytes of a region; the last one may have fewer. */
  readonly regionSize: number;
  /** How many regions the disk has. */
  readonly count: number;
  /** The frames of the disk's member. @throws BundleError when they do not follow one another */
  frames(): Promise<FrameList>;
  /** One of these frames. @throws BundleError when it is not within the member */
  frame(index: number): Promise<Frame>;
  /** All regions, in order. @throws BundleError */
  regions(): AsyncGenerator<RegionFacts>;
  /** One region. @throws BundleError */
  region(index: number): Promise<RegionFacts>;
  /** The runs of a region. @throws BundleError when they contradict each other */
  runs(index: number, region: RegionFacts): Promise<readonly StoredRun[]>;
}
