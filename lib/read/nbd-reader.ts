// A disk behind an NBD server as a DiskReader: its data extents by block status, its bytes by
// pipelined reads.
import { FailedError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { DiskReader } from './disk-reader.ts';
import { ExtentList } from './extent-list.ts';
import { Extents } from './extents.ts';
import { connectNbd, type NbdClient } from './nbd-client.ts';
import { stateZero } from './nbd-protocol.ts';
import { readAhead, SpareBuffers, type ReadableDisk } from './read-ahead.ts';

const maxPiece = 512 * 1024;
/** Bytes in flight: twice as much is not faster (docs/decisions/0005-writing-frames.md), and less starves the server. */
const maxBytesInFlight = 16 * maxPiece;
const maxGap = 16 * 1024;

const sectorSize = 512;
/** From this number on, descriptors must cover a sector on average: no honest server has smaller ones. */
const manyDescriptors = 1_000_000;
const defaultStallMs = 120_000;

export interface NbdReaderOptions {
  readonly socketPath: string;
  readonly exportName: string;
  /** Names the disk in messages: "disk 0 of VM 7". */
  readonly label: string;
  readonly log: Log;
  readonly signal: AbortSignal | undefined;
  /** The true size in bytes, if it is known: QEMU rounds odd sizes up to the next sector. */
  readonly virtualSize?: number | undefined;
  /** The server may be silent for this long, in milliseconds. Default 120 s. */
  readonly stallMs?: number;
}

/**
 * Connects to an NBD server and reads one disk.
 * @throws NotListeningError when nobody listens on the socket (yet); FailedError when the export is
 *   missing, or is not as big as `virtualSize` says.
 */
export async function openNbdReader(options: NbdReaderOptions): Promise<DiskReader> {
  const { socketPath, exportName, label, log, signal } = options;
  const stallMs = options.stallMs ?? defaultStallMs;
  const client = await connectNbd({ path: socketPath, label, stallMs, signal }, exportName);
  try {
    const virtualSize = options.virtualSize ?? client.export.size;
    requireSize(client.export.size, virtualSize, label);
    if (client.export.contextId === undefined) {
      log.debug(`${label}: the NBD server cannot tell data from zeros; everything counts as data`);
    }
    let extents: Promise<Extents> | undefined;
    const disk = readableDisk(client);
    const buffers = new SpareBuffers(disk.longest, maxBytesInFlight / maxPiece);
    return {
      virtualSize,
      extents: () => (extents ??= findExtents(client, virtualSize, label, log)),
      read: (wanted) => readAhead(disk, wanted, buffers),
      recycle: (piece) => buffers.giveBack(piece),
      close: () => client.close(),
    };
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** Requests are whole blocks of the server. */
function readableDisk(client: NbdClient): ReadableDisk {
  const { size, minBlock, maxBlock } = client.export;
  return {
    read: (offset, target) => client.read(offset, target),
    size,
    block: minBlock,
    longest: Math.floor(Math.min(maxPiece, maxBlock) / minBlock) * minBlock,
    maxGap,
    maxInFlight: maxBytesInFlight,
  };
}

function requireSize(served: number, expected: number, label: string): void {
  if (served >= expected && served - expected < sectorSize) return;
  throw new FailedError(
    `cannot read ${label}: it has ${expected} bytes, but the NBD server offers ${served}; has it been resized meanwhile?`,
  );
}

/** Returns all data of the disk: everything that the server does not declare as zeros. */
async function findExtents(
  client: NbdClient,
  virtualSize: number,
  label: string,
  log: Log,
): Promise<Extents> {
  const { size, minBlock, contextId } = client.export;
  if (virtualSize === 0 || contextId === undefined) return Extents.whole(virtualSize);
  // The longest request is 2^32 - 1 bytes; block sizes are powers of two up to 64 KiB.
  const longest = 2 ** 32 - 64 * 1024;
  const list = new ExtentList();
  let offset = 0;
  let descriptors = 0;
  while (offset < virtualSize) {
    const status = await client.blockStatus(offset, Math.min(longest, size - offset));
    for (let at = 0; at + 1 < status.length && offset < virtualSize; at += 2) {
      const length = Math.min(status[at] ?? 0, virtualSize - offset);
      if (length === 0 || (offset + length < virtualSize && length % minBlock !== 0)) {
        throw new FailedError(`cannot find the data of ${label}: malformed block status`);
      }
      if (((status[at + 1] ?? 0) & stateZero) === 0) list.add(offset, length);
      offset += length;
    }
    descriptors += status.length / 2;
    if (descriptors > manyDescriptors && offset < descriptors * sectorSize) {
      throw new FailedError(
        `cannot find the data of ${label}: the NBD server tells of fragments smaller than a sector`,
      );
    }
  }
  return list.logged(label, log);
}
