// The header of a qcow2 file that is not trusted: whether QEMU may be let at it. A backing file or an
// external data file would make QEMU read any file of the machine into the guest's disk.
// Source: QEMU, docs/interop/qcow2.txt, "Header".
import { BundleError } from '../report/errors.ts';

export interface Qcow2Header {
  readonly version: 2 | 3;
  /** Bytes, as the guest sees the disk. */
  readonly virtualSize: number;
  /** Bytes. */
  readonly clusterSize: number;
  /** Entries of the L1 table. */
  readonly l1Size: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** Bits of one refcount. */
  readonly refcountBits: number;
  /** Internal snapshots. */
  readonly snapshots: number;
}

/** QEMU refuses larger tables: QCOW_MAX_L1_SIZE, QCOW_MAX_REFTABLE_SIZE. */
const largestL1 = 32 * 1024 * 1024;
const largestRefcountTable = 8 * 1024 * 1024;
/** Dirty, compression type, extended L2 entries; not: corrupt (bit 1), external data file (bit 2). */
const acceptedFeatures = 0b11001n;

/**
 * Checks the header of a stand-alone qcow2 file.
 * @param head the first bytes of the file, 104 or more
 * @throws BundleError when it is none, names other files, is encrypted, or makes no sense
 */
export function checkQcow2Header(head: Uint8Array): Qcow2Header {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  const refuse = (why: string) => new BundleError(`its qcow2 header is refused: ${why}`);
  if (bytes.length < 72 || bytes.toString('latin1', 0, 4) !== 'QFI\xfb') {
    throw refuse('it is not a qcow2 file');
  }
  const version = bytes.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw refuse(`unknown version ${version}`);
  if (bytes.readBigUInt64BE(8) !== 0n || bytes.readUInt32BE(16) !== 0) {
    throw refuse('it names a backing file');
  }
  const clusterBits = bytes.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw refuse('the cluster size is out of range');
  const clusterSize = 2 ** clusterBits;
  if (bytes.readUInt32BE(32) !== 0) throw refuse('it is encrypted');
  const { refcountBits, extendedL2 } =
    version === 3 ? checkVersion3(bytes, clusterSize, refuse) : version2;

  const header: Qcow2Header = {
    version,
    clusterSize,
    refcountBits,
    virtualSize: safe(bytes.readBigUInt64BE(24)),
    l1Size: bytes.readUInt32BE(36),
    l1Offset: safe(bytes.readBigUInt64BE(40)),
    refcountTableOffset: safe(bytes.readBigUInt64BE(48)),
    refcountTableClusters: bytes.readUInt32BE(56),
    snapshots: bytes.readUInt32BE(60),
  };
  const l2Covers = (clusterSize / (extendedL2 ? 16 : 8)) * clusterSize;
  if (header.l1Size * 8 > largestL1 || header.l1Size < header.virtualSize / l2Covers) {
    throw refuse('its L1 table does not fit its size');
  }
  if (header.refcountTableClusters * clusterSize > largestRefcountTable) {
    throw refuse('its refcount table is too large');
  }
  if (header.l1Offset % clusterSize !== 0 || header.refcountTableOffset % clusterSize !== 0) {
    throw refuse('a table is not at the start of a cluster');
  }
  return header;

  function safe(value: bigint): number {
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    throw refuse('a size or place is out of range');
  }
}

/**
 * The size in bytes that a qcow2 header declares, as a guest sees the disk; undefined when it is no such header. For
 * showing only: nothing else of it is checked.
 */
export function declaredVirtualSize(head: Uint8Array): number | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  if (bytes.length < 32 || bytes.toString('latin1', 0, 4) !== 'QFI\xfb') return undefined;
  const size = bytes.readBigUInt64BE(24);
  return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : undefined;
}

const version2 = { refcountBits: 16, extendedL2: false };

function checkVersion3(bytes: Buffer, clusterSize: number, refuse: (why: string) => BundleError) {
  if (bytes.length < 104) throw refuse('it is cut short');
  const features = bytes.readBigUInt64BE(72);
  if ((features & 4n) !== 0n) throw refuse('it names an external data file');
  if ((features & 2n) !== 0n) throw refuse('it is marked as corrupt');
  if ((features & ~acceptedFeatures) !== 0n) throw refuse('it needs unknown features');
  const order = bytes.readUInt32BE(96);
  if (order > 6) throw refuse('the refcount size is out of range');
  const length = bytes.readUInt32BE(100);
  if (length < 104 || length % 8 !== 0 || length > clusterSize) {
    throw refuse('the header length is out of range');
  }
  return { refcountBits: 2 ** order, extendedL2: (features & 16n) !== 0n };
}
