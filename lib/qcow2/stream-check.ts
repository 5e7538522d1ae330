// Checks a qcow2 disk that this tool wrote, as a stream and in little memory, and says where on the disk its data belongs.
// Its tables come first and name every cluster of the file once and in order (layout.ts), so a counter is enough.
// Source: QEMU, docs/interop/qcow2.txt.
import type { Extent } from '../read/extent.ts';
import { Extents } from '../read/extents.ts';
import { BundleError } from '../report/errors.ts';
import { entryFlag, entrySize, sectorSize } from './format.ts';
import { writeQcow2Header } from './header-writer.ts';
import type { Qcow2Header } from './header.ts';
import { readStandAloneHeader } from './stand-alone.ts';
import { exactEntries } from './table-entries.ts';

/** The file is checked in blocks of the size of the smallest cluster. */
const blockSize = sectorSize;
const { copied } = entryFlag;

export class Qcow2StreamCheck {
  readonly #expected: {
    readonly fileSize: number;
    readonly virtualSize: number;
    readonly clusterSize: number;
  };
  readonly #onData: (data: Uint8Array, offset: number) => void;
  #position = 0;
  #waiting: Buffer = Buffer.alloc(0);
  #tables: Tables | undefined;
  #guest: GuestPlaces | undefined;

  /**
   * @param expected the sizes in the manifest, in bytes
   * @param onData gets the data of the disk, and its offset as the guest sees it
   */
  constructor(
    expected: { fileSize: number; virtualSize: number; clusterSize: number },
    onData: (data: Uint8Array, offset: number) => void = () => undefined,
  ) {
    this.#expected = expected;
    this.#onData = onData;
  }

  /** Checks the next bytes of the file. @throws BundleError */
  update(data: Uint8Array): void {
    let rest = Buffer.from(data.buffer, data.byteOffset, data.length);
    if (this.#waiting.length > 0) {
      const missing = blockSize - this.#waiting.length;
      this.#waiting = Buffer.concat([this.#waiting, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.#waiting.length < blockSize) return;
      this.#block(this.#waiting);
      this.#waiting = Buffer.alloc(0);
    }
    for (; rest.length >= blockSize && !this.#inData(); rest = rest.subarray(blockSize)) {
      this.#block(rest.subarray(0, blockSize));
    }
    if (this.#inData()) this.#data(rest);
    else this.#waiting = Buffer.from(rest);
  }

  /** To be called after the last byte. @throws BundleError */
  end(): void {
    const { fileSize } = this.#expected;
    if (this.#position !== fileSize || this.#tables?.isComplete(fileSize) !== true) {
      throw damaged('its tables and its length do not agree');
    }
  }

  /** Which parts of the disk are stored, and where that data begins in the file. To be called after `end`. */
  stored(): { readonly extents: Iterable<Extent>; readonly dataStart: number } {
    const tables = this.#tables;
    if (!tables) return { extents: [], dataStart: 0 };
    const { virtualSize } = this.#expected;
    const extents = { [Symbol.iterator]: () => within(tables.guestClusters, virtualSize) };
    return { extents, dataStart: tables.dataStart() };
  }

  #inData(): boolean {
    return this.#tables !== undefined && this.#position >= this.#tables.dataStart();
  }

  #data(data: Uint8Array): void {
    this.#position += data.length;
    if (!this.#tables) return;
    this.#guest ??= new GuestPlaces(this.#tables.guestClusters);
    for (const { offset, part } of this.#guest.next(data)) this.#onData(part, offset);
  }

  #block(block: Buffer): void {
    if (!this.#tables) {
      const header = readStandAloneHeader(block);
      const { fileSize, virtualSize, clusterSize } = this.#expected;
      if (header.virtualSize !== virtualSize || header.clusterSize !== clusterSize) {
        throw damaged('its sizes are not those of the manifest');
      }
      // Unknown extensions, or places of snapshots that do not exist, are no damage to a guest, but QEMU may refuse them.
      if (!writeQcow2Header(header).subarray(0, blockSize).equals(block)) {
        throw damaged('its header is not as onevmdump writes it');
      }
      this.#tables = new Tables(header, fileSize);
    } else {
      this.#tables.check(this.#position, block);
    }
    this.#position += block.length;
  }
}

/** The last cluster can reach beyond the end of the disk. */
function* within(extents: Iterable<Extent>, size: number): Generator<Extent> {
  for (const { offset, length } of extents) {
    yield { offset, length: Math.min(length, size - offset) };
  }
}

/** Says where on the disk the clusters of data belong, which follow one another in the file. */
class GuestPlaces {
  readonly #extents: Iterator<Extent, undefined>;
  #offset = 0;
  #left = 0;

  constructor(extents: Extents) {
    this.#extents = extents[Symbol.iterator]();
  }

  /** @param data the next bytes of the file */
  *next(data: Uint8Array): Generator<{ readonly offset: number; readonly part: Uint8Array }> {
    for (let at = 0; at < data.length;) {
      if (this.#left === 0) {
        const { done, value } = this.#extents.next();
        if (done === true) throw damaged('it has more data than its tables name');
        this.#offset = value.offset;
        this.#left = value.length;
      }
      const part = data.subarray(at, at + this.#left);
      yield { offset: this.#offset, part };
      this.#offset += part.length;
      this.#left -= part.length;
      at += part.length;
    }
  }
}

/** The tables of one file, in the order of the file. */
class Tables {
  /** Which clusters of the disk have data; known once the L2 tables have been read. */
  readonly guestClusters = new Extents();
  readonly #header: Qcow2Header;
  readonly #fileClusters: number;
  /** Where the next refcount block, L2 table and cluster of data must be, according to the entries so far. */
  #nextBlock: number;
  #nextL2: number;
  #nextData: number;
  /** The L1 entries with an L2 table, in the order of these tables. */
  readonly #l1Indexes: number[] = [];

  constructor(header: Qcow2Header, fileSize: number) {
    const { clusterSize, refcountTableOffset } = header;
    if (refcountTableOffset !== clusterSize) {
      throw damaged('it is not laid out as onevmdump does');
    }
    this.#header = header;
    this.#fileClusters = fileSize / clusterSize;
    this.#nextBlock = this.#blocksStart();
    this.#nextL2 = this.#l2Start();
    this.#nextData = this.#nextL2;
  }

  #blocksStart(): number {
    return this.#header.clusterSize * (1 + this.#header.refcountTableClusters);
  }

  #l2Start(): number {
    const { l1Offset, l1Entries, clusterSize } = this.#header;
    return l1Offset + Math.ceil((l1Entries * entrySize) / clusterSize) * clusterSize;
  }

  /** Known once the L1 table has been read. */
  dataStart(): number {
    return this.#nextL2;
  }

  /** Whether the entries name all of the file, and nothing after it. */
  isComplete(fileSize: number): boolean {
    return this.#nextBlock === this.#header.l1Offset && this.#nextData === fileSize;
  }

  check(position: number, block: Buffer): void {
    const { clusterSize, l1Offset } = this.#header;
    if (position < clusterSize) return;
    if (position < this.#blocksStart()) this.#refcountTable(block);
    else if (position < l1Offset) this.#refcounts(position, block);
    else if (position < this.#l2Start()) this.#l1(position, block);
    else this.#l2(position, block);
  }

  #refcountTable(block: Buffer): void {
    for (const { flags, value } of exactEntries(block)) {
      if (flags === 0 && value === 0) continue;
      if (flags !== 0 || value !== this.#nextBlock) throw damaged('its refcount table is wrong');
      this.#nextBlock += this.#header.clusterSize;
    }
  }

  /** Every cluster of the file must have a refcount of one, and those after its end a refcount of zero. */
  #refcounts(position: number, block: Buffer): void {
    const { l1Offset } = this.#header;
    if (this.#nextBlock !== l1Offset)
      throw damaged('its refcount blocks are not where they should be');
    const first = (position - this.#blocksStart()) / 2;
    for (let n = 0; n < blockSize / 2; n++) {
      const used = first + n < this.#fileClusters ? 1 : 0;
      if (block.readUInt16BE(n * 2) !== used)
        throw damaged(`the refcount of cluster ${first + n} is wrong`);
    }
  }

  #l1(position: number, block: Buffer): void {
    const first = (position - this.#header.l1Offset) / entrySize;
    for (const { index, flags, value } of exactEntries(block)) {
      if (flags === 0 && value === 0) continue;
      if (flags !== copied || value !== this.#nextL2 || first + index >= this.#header.l1Entries) {
        throw damaged(`L1 entry ${first + index} is wrong`);
      }
      this.#nextL2 += this.#header.clusterSize;
      this.#l1Indexes.push(first + index);
    }
    this.#nextData = this.#nextL2;
  }

  #l2(position: number, block: Buffer): void {
    const { clusterSize, virtualSize } = this.#header;
    const nth = Math.floor((position - this.#l2Start()) / clusterSize);
    const inTable = (position - this.#l2Start() - nth * clusterSize) / entrySize;
    const firstInTable = (this.#l1Indexes[nth] ?? NaN) * (clusterSize / entrySize);
    for (const { index, flags, value } of exactEntries(block)) {
      if (flags === 0 && value === 0) continue;
      if (flags !== copied || value !== this.#nextData) {
        throw damaged(`the L2 entry at byte ${position + index * entrySize} is wrong`);
      }
      this.#nextData += clusterSize;
      const guest = (firstInTable + inTable + index) * clusterSize;
      if (!(guest < virtualSize)) throw damaged('it has data beyond its end');
      this.guestClusters.add(guest, clusterSize);
    }
  }
}

function damaged(why: string): BundleError {
  return new BundleError(`its qcow2 structure is damaged: ${why}`);
}
