// Reads the header of a qcow2 file (header-writer.ts writes one). The files come from others, so all input is validated.
// A caller that accepts less, for example no backing file, checks that itself.
import {
  clusterBits,
  entrySize,
  extendedEntrySize,
  headerFields,
  headerLengths,
  incompatibleFeature,
  largestL1,
  largestRefcountOrder,
  largestRefcountTable,
  qcow2Magic,
  refcountOrder16,
} from './format.ts';

export interface Qcow2Header {
  readonly version: 2 | 3;
  /** Bytes of the header; extensions follow. */
  readonly length: number;
  /** Bytes. */
  readonly clusterSize: number;
  /** Bytes as declared. QEMU shows a guest whole sectors only. */
  readonly virtualSize: number;
  /** Bytes in the file. An offset or a length of 0: there is no backing file. */
  readonly backingName: { readonly offset: number; readonly length: number };
  /** The active L1 table. */
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** Bits of one refcount. */
  readonly refcountBits: number;
  /** Internal snapshots. */
  readonly snapshots: number;
  /** QEMU had the file open with lazy refcounts, so that refcounts can be too low. */
  readonly isDirty: boolean;
  /** Bytes of an entry of an L2 table. */
  readonly l2EntrySize: number;
}

/** Why a header is refused. A file that is `encrypted`, or of an unknown `version`, is not necessarily damaged. */
export type HeaderFault =
  | 'not qcow2'
  | 'version'
  | 'encrypted'
  | 'unknown features'
  | 'corrupt'
  | 'external data'
  | 'damaged';

type FieldName = keyof typeof headerFields;

/**
 * Reads and checks a header.
 * @param head the first bytes of the file, 104 or more
 * @param refuse makes the error; `detail` is the version, or what is wrong with a damaged header
 */
export function readQcow2Header(
  head: Uint8Array,
  refuse: (fault: HeaderFault, detail: string) => Error,
): Qcow2Header {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  const damaged = (why: string) => refuse('damaged', why);
  const number = (name: FieldName): number => {
    const value = field(bytes, name);
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    throw damaged('a size or place is out of range');
  };

  if (!isQcow2(bytes) || bytes.length < headerLengths[2]) throw refuse('not qcow2', '');
  const version = number('version');
  if (version !== 2 && version !== 3) throw refuse('version', String(version));
  if (bytes.length < headerLengths[version]) throw damaged('it is cut short');
  if (number('encryption') !== 0) throw refuse('encrypted', '');
  const features = version === 3 ? field(bytes, 'incompatibleFeatures') : 0n;
  const has = (name: keyof typeof incompatibleFeature) =>
    (features & incompatibleFeature[name]) !== 0n;
  const known = Object.values(incompatibleFeature).reduce((all, bit) => all | bit, 0n);
  if ((features & ~known) !== 0n) throw refuse('unknown features', '');
  if (has('corrupt')) throw refuse('corrupt', '');
  if (has('externalDataFile')) throw refuse('external data', '');
  const bits = number('clusterBits');
  if (bits < clusterBits.least || bits > clusterBits.most) {
    throw damaged('the cluster size is out of range');
  }
  const order = version === 3 ? number('refcountOrder') : refcountOrder16;
  if (order > largestRefcountOrder) throw damaged('the refcount size is out of range');

  const header: Qcow2Header = {
    version,
    length: version === 3 ? number('headerLength') : headerLengths[2],
    clusterSize: 2 ** bits,
    virtualSize: number('virtualSize'),
    backingName: { offset: number('backingNameOffset'), length: number('backingNameLength') },
    l1Entries: number('l1Entries'),
    l1Offset: number('l1Offset'),
    refcountTableOffset: number('refcountTableOffset'),
    refcountTableClusters: number('refcountTableClusters'),
    refcountBits: 2 ** order,
    snapshots: number('snapshots'),
    isDirty: has('dirty'),
    l2EntrySize: has('extendedL2') ? extendedEntrySize : entrySize,
  };
  checkSizes(header, damaged);
  return header;
}

/** Checks what QEMU also requires of the sizes and offsets in a header. */
function checkSizes(header: Qcow2Header, damaged: (why: string) => Error): void {
  const { version, length, clusterSize, l1Entries, l1Offset } = header;
  if (length < headerLengths[version] || length % 8 !== 0 || length > clusterSize) {
    throw damaged('the header length is out of range');
  }
  if (l1Entries * entrySize > largestL1 || l1Entries < neededL1Entries(header)) {
    throw damaged('its L1 table does not fit its size');
  }
  if (header.refcountTableClusters * clusterSize > largestRefcountTable) {
    throw damaged('its refcount table is too large');
  }
  if (l1Offset % clusterSize !== 0 || header.refcountTableOffset % clusterSize !== 0) {
    throw damaged('a table is not at the start of a cluster');
  }
}

/** How many entries of the L1 table a disk of this size needs. */
export function neededL1Entries({
  virtualSize,
  clusterSize,
  l2EntrySize,
}: Pick<Qcow2Header, 'virtualSize' | 'clusterSize' | 'l2EntrySize'>): number {
  const bytesPerTable = (clusterSize / l2EntrySize) * clusterSize;
  return Math.ceil(virtualSize / bytesPerTable);
}

/**
 * Returns the size in bytes that a qcow2 header declares, as a guest sees the disk; undefined if `head` is not a qcow2
 * header. Only to show it to a person: nothing else in the header is checked.
 */
export function declaredVirtualSize(head: Uint8Array): number | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  const { offset, bytes: length } = headerFields.virtualSize;
  if (!isQcow2(bytes) || bytes.length < offset + length) return undefined;
  const size = field(bytes, 'virtualSize');
  return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : undefined;
}

function isQcow2(head: Buffer): boolean {
  return head.length >= 4 && field(head, 'magic') === BigInt(qcow2Magic);
}

function field(head: Buffer, name: FieldName): bigint {
  const { offset, bytes } = headerFields[name];
  return bytes === 8 ? head.readBigUInt64BE(offset) : BigInt(head.readUInt32BE(offset));
}
