// The numbers of the qcow2 format: where the fields of its header are, and what the entries of its tables mean. All
// numbers in a file are big-endian. Source: QEMU, docs/interop/qcow2.txt; the limits are those of block/qcow2.h.

/** "QFI\xfb". */
export const qcow2Magic = 0x514649fb;

/** The fields of the header, in bytes. `incompatibleFeatures` and the fields after it exist since version 3. */
export const headerFields = {
  magic: { offset: 0, bytes: 4 },
  version: { offset: 4, bytes: 4 },
  backingNameOffset: { offset: 8, bytes: 8 },
  backingNameLength: { offset: 16, bytes: 4 },
  clusterBits: { offset: 20, bytes: 4 },
  virtualSize: { offset: 24, bytes: 8 },
  encryption: { offset: 32, bytes: 4 },
  l1Entries: { offset: 36, bytes: 4 },
  l1Offset: { offset: 40, bytes: 8 },
  refcountTableOffset: { offset: 48, bytes: 8 },
  refcountTableClusters: { offset: 56, bytes: 4 },
  snapshots: { offset: 60, bytes: 4 },
  snapshotsOffset: { offset: 64, bytes: 8 },
  incompatibleFeatures: { offset: 72, bytes: 8 },
  compatibleFeatures: { offset: 80, bytes: 8 },
  autoclearFeatures: { offset: 88, bytes: 8 },
  refcountOrder: { offset: 96, bytes: 4 },
  headerLength: { offset: 100, bytes: 4 },
} as const;

/** Bytes of the header. In version 3 it may have more, which a reader need not understand. */
export const headerLengths = { 2: 72, 3: 104 } as const;

/** Bits of `incompatibleFeatures`: a reader that does not know one must not read the file. */
export const incompatibleFeature = {
  dirty: 1n << 0n,
  corrupt: 1n << 1n,
  externalDataFile: 1n << 2n,
  compressionType: 1n << 3n,
  extendedL2: 1n << 4n,
} as const;

/** Types of header extensions. */
export const headerExtension = {
  end: 0,
  backingFormat: 0xe2792aca,
  externalDataFile: 0x44415441,
} as const;

/** Version 2 has refcounts of 16 bits. The order is the binary logarithm. */
export const refcountOrder16 = 4;
export const largestRefcountOrder = 6;

/** Clusters have 512 bytes to 2 MiB (MIN_CLUSTER_BITS, MAX_CLUSTER_BITS). */
export const clusterBits = { least: 9, most: 21 } as const;
/** A compressed cluster, and the size of a disk, are counted in sectors. */
export const sectorSize = 512;
/** QCOW_MAX_L1_SIZE and QCOW_MAX_REFTABLE_SIZE: QEMU refuses larger tables. Bytes. */
export const largestL1 = 32 * 1024 * 1024;
export const largestRefcountTable = 8 * 1024 * 1024;

/** Bytes of an entry of an L1, L2 or refcount table, and of an L2 table with subclusters. */
export const entrySize = 8;
export const extendedEntrySize = 16;

/** Bits of the upper half (32 bits) of an L1 or L2 entry. `copied`: the refcount of its cluster is exactly one. */
export const entryFlag = { copied: 0x8000_0000, compressed: 0x4000_0000 } as const;
/** The bits of the upper half that belong to an offset. The lower half has its other bits, in whole sectors. */
export const offsetBitsHigh = 0x00ff_ffff;
/** A bit of the lower half of an L2 entry: the cluster reads as zeros. */
export const zeroFlag = 1;
