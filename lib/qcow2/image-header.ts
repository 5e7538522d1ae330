// Reads a qcow2 header: only what decides whether and how a layer can be read. The header is written
// by whoever made the file, so nothing in it is believed before it is checked.
// Format: QEMU, docs/interop/qcow2.txt.
import { FailedError, UnsupportedError } from '../report/errors.ts';
import type { FileRange } from '../tools/file-facts.ts';

/** So many bytes of a file are enough for every header QEMU writes. */
export const headerBytes = 64 * 1024;

const magic = 0x514649fb;
const incompatible = { dirty: 1, corrupt: 2, dataFile: 4, compression: 8, extendedL2: 16 } as const;
const knownIncompatible = 1 | 2 | 4 | 8 | 16;
const extension = { end: 0, backingFormat: 0xe2792aca, dataFile: 0x44415441 } as const;
const sectorSize = 512;

export interface Qcow2Header {
  /** Bytes. */
  readonly clusterSize: number;
  /** Bytes as the guest sees them: QEMU leaves out an incomplete last sector. */
  readonly virtualSize: number;
  readonly backing: { readonly name: string; readonly format: string | undefined } | undefined;
  readonly tables: Qcow2Tables;
}

/** Where in the file its tables are. All in bytes. */
export interface Qcow2Tables {
  readonly clusterSize: number;
  /** The active L1 table, as far as the disk needs it. */
  readonly l1: FileRange;
  /** Entries of L2 tables have 16 bytes instead of 8. */
  readonly extendedEntries: boolean;
  readonly refcounts: { readonly table: FileRange; readonly bits: number };
  /** QEMU had the file open with lazy refcounts, so that refcounts can be too low. */
  readonly dirty: boolean;
}

/**
 * @param head the first bytes of the file, up to `headerBytes`.
 * @param name the file, for messages.
 * @throws UnsupportedError for encryption, an external data file, unknown features;
 *   FailedError when it is no qcow2 file or a damaged one.
 */
export function parseQcow2Header(head: Buffer, name: string): Qcow2Header {
  const damaged = (why: string): FailedError =>
    new FailedError(`${name} is declared as qcow2, but its header is damaged: ${why}`);
  if (head.length < 72 || head.readUInt32BE() !== magic) {
    throw new FailedError(`${name} is declared as qcow2, but is not a qcow2 file`);
  }
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) {
    throw new UnsupportedError(`${name} is qcow2 version ${version}; only 2 and 3 can be handled`);
  }
  if (version === 3 && head.length < 104) throw damaged('it is cut short');
  const headerLength = version === 2 ? 72 : head.readUInt32BE(100);
  if (headerLength < (version === 2 ? 72 : 104) || headerLength % 8 !== 0) {
    throw damaged(`a header length of ${headerLength}`);
  }
  if (head.readUInt32BE(32) !== 0) {
    throw new UnsupportedError(`${name} is encrypted; encrypted qcow2 images cannot be handled`);
  }
  if (version === 3) checkFeatures(head.readBigUInt64BE(72), name);
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw damaged(`cluster bits ${clusterBits}`);
  const size = head.readBigUInt64BE(24);
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(`a size of ${size.toString()} bytes`);

  const clusterSize = 2 ** clusterBits;
  const nameOffset = head.readBigUInt64BE(8);
  const nameLength = head.readUInt32BE(16);
  // QEMU: extensions end where the backing file's name begins, and both lie in the first cluster.
  const limit = Math.min(clusterSize, head.length);
  const end = nameOffset === 0n ? limit : Number(nameOffset);
  if (end < headerLength || end > limit) throw damaged('its parts lie outside of it');
  const extensions = readExtensions(head.subarray(0, end), headerLength, damaged);
  if (extensions.has(extension.dataFile)) throw dataFile(name);
  const tables = readTables(head, { version, clusterBits, size: Number(size) }, damaged);
  const virtualSize = Math.floor(Number(size) / sectorSize) * sectorSize;
  const facts = { clusterSize, virtualSize, tables };
  if (nameOffset === 0n || nameLength === 0) return { ...facts, backing: undefined };
  if (nameLength > 1023 || end + nameLength > limit) throw damaged('the name of its backing file');
  const backingName = text(head.subarray(end, end + nameLength), damaged);
  const format = extensions.get(extension.backingFormat);
  return {
    ...facts,
    backing: { name: backingName, format: format && text(format, damaged) },
  };
}

/** The limits are those of QEMU (block/qcow2.h), which opens no image beyond them. */
const maxL1Bytes = 32 * 1024 * 1024;
const maxRefcountTableBytes = 8 * 1024 * 1024;

function readTables(
  head: Buffer,
  { version, clusterBits, size }: { version: number; clusterBits: number; size: number },
  damaged: (why: string) => Error,
): Qcow2Tables {
  const clusterSize = 2 ** clusterBits;
  const features = version === 2 ? 0 : head.readUInt32BE(76);
  const extendedEntries = (features & incompatible.extendedL2) !== 0;
  const refcountOrder = version === 2 ? 4 : head.readUInt32BE(96);
  if (refcountOrder > 6) throw damaged(`a refcount order of ${refcountOrder}`);
  const entriesPerTable = clusterSize / (extendedEntries ? 16 : 8);
  const entries = Math.ceil(size / clusterSize / entriesPerTable);
  const l1 = { offset: Number(head.readBigUInt64BE(40)), length: entries * 8 };
  if (head.readUInt32BE(36) < entries) throw damaged('its L1 table is too small for the disk');
  const table = {
    offset: Number(head.readBigUInt64BE(48)),
    length: head.readUInt32BE(56) * clusterSize,
  };
  if (l1.length > maxL1Bytes || table.length > maxRefcountTableBytes) {
    throw damaged('a table that is too large');
  }
  const dirty = (features & incompatible.dirty) !== 0;
  return {
    clusterSize,
    l1,
    extendedEntries,
    refcounts: { table, bits: 2 ** refcountOrder },
    dirty,
  };
}

function checkFeatures(features: bigint, name: string): void {
  const bits = Number(features & 0xffffffffn);
  if (features > 0xffffffffn || (bits & ~knownIncompatible) !== 0) {
    throw new UnsupportedError(`${name} uses qcow2 features that this tool does not know`);
  }
  // `dirty` (lazy refcounts) says nothing about the data; the others QEMU reads as they are.
  if ((bits & incompatible.corrupt) !== 0) {
    throw new FailedError(
      `${name} is marked as corrupt; check it with: qemu-img check -f qcow2 (and repair it with -r all)`,
    );
  }
  if ((bits & incompatible.dataFile) !== 0) throw dataFile(name);
}

function dataFile(name: string): UnsupportedError {
  return new UnsupportedError(`${name} keeps its data in an external file, which is refused`);
}

function readExtensions(
  area: Buffer,
  start: number,
  damaged: (why: string) => Error,
): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  let at = start;
  while (at + 8 <= area.length) {
    const type = area.readUInt32BE(at);
    const length = area.readUInt32BE(at + 4);
    if (type === extension.end) break;
    const from = at + 8;
    if (from + length > area.length) throw damaged('an extension lies outside of it');
    if (found.has(type)) throw damaged('an extension occurs twice');
    found.set(type, area.subarray(from, from + length));
    at = from + Math.ceil(length / 8) * 8;
  }
  return found;
}

/** A name or word from the header. */
function text(bytes: Buffer, damaged: (why: string) => Error): string {
  const value = bytes.toString('utf8');
  if (/\p{Cc}/u.test(value) || !Buffer.from(value).equals(bytes)) {
    throw damaged('a name with unprintable characters');
  }
  return value;
}
