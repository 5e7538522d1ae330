// A disk behind an NBD server as a DiskReader: its data extents by block status, its bytes by
// pipelined reads.
import { FailedError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { DiskReader, Extent } from './disk-reader.ts';
import { ExtentList } from './extent-list.ts';
import { Extents } from './extents.ts';
import { connectNbd, type NbdClient } from './nbd-client.ts';
import { stateZero } from './nbd-protocol.ts';

const maxPiece = 512 * 1024;
/** Bytes in flight: twice as much is not faster (docs/decisions/0005-writing-frames.md), and less starves the server. */
const maxBytesInFlight = 16 * maxPiece;
const maxRequestsInFlight = 256;
/** A request costs as much as reading this many bytes, so smaller holes are also read. */
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
    const spare: Buffer[] = [];
    return {
      virtualSize,
      extents: () => (extents ??= findExtents(client, virtualSize, label, log)),
      read: (wanted) => readPieces(client, wanted, spare),
      recycle(piece) {
        // Only memory that belongs to one piece, and no more than is used at once.
        const own = piece.length === maxPiece && piece.buffer.byteLength === maxPiece;
        if (own && spare.length < maxBytesInFlight / maxPiece)
          spare.push(Buffer.from(piece.buffer));
      },
      close: () => client.close(),
    };
  } catch (error) {
    await client.close();
    throw error;
  }
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
  if (list.filledHole > 0) {
    log.info(
      `${label}: its data is in very many fragments; holes of up to ${list.filledHole} bytes are stored as zeros`,
    );
  }
  return list.extents;
}

/** Requests ahead of the consumer and yields the pieces in order. */
async function* readPieces(
  client: NbdClient,
  extents: Iterable<Extent>,
  spare: Buffer[],
): AsyncGenerator<Uint8Array, void, void> {
  const requests = cut(client, extents, spare);
  const window: { readonly request: Request; readonly arrived: Promise<void> }[] = [];
  let bytes = 0;
  const topUp = (): void => {
    while (bytes < maxBytesInFlight && window.length < maxRequestsInFlight) {
      const next = requests.next();
      if (next.done === true) return;
      const { offset, target } = next.value;
      const arrived = client.read(offset, target);
      // Whoever waits for it gets the failure. Without this, a failure before that would be an unhandled rejection.
      arrived.catch(() => undefined);
      window.push({ request: next.value, arrived });
      bytes += target.length;
    }
  };
  topUp();
  for (let next = window.shift(); next; next = window.shift()) {
    await next.arrived;
    const { target, pieces } = next.request;
    bytes -= target.length;
    if (target.length >= maxPiece || window.length < maxRequestsInFlight / 2) topUp();
    yield* pieces;
  }
}

interface Request {
  readonly offset: number;
  readonly target: Uint8Array;
  /** The parts of `target` that were asked for, in order. */
  readonly pieces: readonly Uint8Array[];
}

/**
 * Cuts extents at whole MiB of the disk. Pieces that are close together become one request. Requests are
 * widened to whole blocks of the server.
 */
function* cut(
  client: NbdClient,
  extents: Iterable<Extent>,
  spare: Buffer[],
): Generator<Request, void, void> {
  const { size, minBlock, maxBlock } = client.export;
  const step = Math.floor(Math.min(maxPiece, maxBlock) / minBlock) * minBlock;
  let near: Extent[] = [];
  const flush = function* (): Generator<Request, void, void> {
    const first = near[0];
    const last = near.at(-1);
    if (!first || !last) return;
    const offset = Math.floor(first.offset / minBlock) * minBlock;
    const end = Math.ceil((last.offset + last.length) / minBlock) * minBlock;
    const length = Math.min(size, end) - offset;
    const target = (length === maxPiece && spare.pop()) || Buffer.allocUnsafe(length);
    const pieces = near.map((extent) => {
      return target.subarray(extent.offset - offset, extent.offset - offset + extent.length);
    });
    near = [];
    yield { offset, target, pieces };
  };
  for (const { offset: start, length } of extents) {
    for (let offset = start; offset < start + length;) {
      const blockEnd = (Math.floor(offset / step) + 1) * step;
      const part = { offset, length: Math.min(start + length, blockEnd) - offset };
      const last = near.at(-1);
      const gap = last ? offset - (last.offset + last.length) : 0;
      if (offset % step === 0 || gap > maxGap || crosses(last, offset, step)) yield* flush();
      near.push(part);
      offset += part.length;
    }
  }
  yield* flush();
}

function crosses(last: Extent | undefined, offset: number, step: number): boolean {
  return last !== undefined && Math.floor(last.offset / step) !== Math.floor(offset / step);
}
