// A raw file or a block device of this machine as a DiskReader: its data is read here, without another program. The caller
// finds the extents of a file by `qemu-img map`, since Node.js cannot ask a file system for holes.
import { constants, open, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, FailedError } from '../report/errors.ts';
import { AlignedBuffers } from './aligned-buffers.ts';
import type { DiskReader } from './disk-reader.ts';
import type { Extents } from './extents.ts';
import { readAhead, SpareBuffers, type ReadableDisk } from './read-ahead.ts';

const MiB = 1024 * 1024;
const longest = MiB;
/** As many requests as Node.js has threads for them; more are not faster. */
const maxInFlight = 4 * MiB;
/** Most of the time of a request goes into passing it to a thread. */
const maxGap = 64 * 1024;
/** No device has larger logical blocks, which reads without the page cache must begin and end at. */
const deviceBlock = 4096;
const defaultStallMs = 120_000;
/** How long `close` waits for reads that are still in flight. */
const closeLimitMs = 5000;

export interface RawReaderOptions {
  /** Of a file: with all links resolved. */
  readonly path: string;
  /** Whether it is a block device instead of a file. */
  readonly isDevice: boolean;
  /** Bytes. The size of a device was checked by the caller. */
  readonly virtualSize: number;
  /** Names the disk in messages: "disk 0 of VM 7". */
  readonly label: string;
  readonly findExtents: () => Promise<Extents>;
  readonly signal: AbortSignal;
  /** A read may take this long, in milliseconds. Default 120 s. */
  readonly stallMs?: number;
}

/**
 * Opens a raw file, or a device.
 * @throws FailedError when it cannot be opened, is not a block device or a regular file (a link is not one), or is a file
 *   of another size
 */
export async function openRawReader(options: RawReaderOptions): Promise<DiskReader> {
  const { virtualSize, label, findExtents, signal, stallMs = defaultStallMs } = options;
  const file = await openFile(options);
  const fillFrom = options.isDevice ? filledDirectly(file, label) : filled(file, label);
  const disk: ReadableDisk = {
    async read(offset, target) {
      signal.throwIfAborted();
      await within(stallMs, label, fillFrom(offset, target));
    },
    size: virtualSize,
    block: options.isDevice ? deviceBlock : 1,
    ...{ longest, maxGap, maxInFlight },
  };
  const buffers = new SpareBuffers(longest, maxInFlight / longest + 2);
  let extents: Promise<Extents> | undefined;
  let closed: Promise<void> | undefined;
  return {
    virtualSize,
    extents: () => (extents ??= findExtents()),
    read: (wanted) => readAhead(disk, wanted, buffers),
    recycle: (piece) => buffers.giveBack(piece),
    close: () => (closed ??= closeFile(file)),
  };
}

async function openFile(options: RawReaderOptions): Promise<FileHandle> {
  const { path, isDevice, virtualSize, label } = options;
  const failed = (why: string, cause?: unknown): FailedError =>
    new FailedError(`cannot read ${label} (${path}): ${why}`, { cause });
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECT } = constants;
  let file: FileHandle;
  try {
    // With O_NONBLOCK, opening a FIFO does not wait for somebody to write into it. A device is read without the page
    // cache, which may be out of date: another host may have written to the volume.
    file = await open(path, O_RDONLY | O_NONBLOCK | (isDevice ? O_DIRECT : O_NOFOLLOW));
  } catch (error) {
    throw failed(errorMessage(error), error);
  }
  try {
    const found = await file.stat();
    if (isDevice && !found.isBlockDevice()) throw failed('it is not a block device');
    if (!isDevice && !found.isFile()) throw failed('it is not a regular file');
    if (isDevice || found.size === virtualSize) return file;
    throw failed(
      `it has ${found.size} bytes instead of ${virtualSize}; has it been resized meanwhile?`,
    );
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Fills `target` with the bytes from `offset` on. */
type Fill = ReadableDisk['read'];

/** @returns a function that throws a FailedError naming the offset when the file ends before, or cannot be read */
function filled(file: FileHandle, label: string): Fill {
  return async (offset, target) => {
    for (let done = 0; done < target.length;) {
      let bytesRead: number;
      try {
        ({ bytesRead } = await file.read(target, done, target.length - done, offset + done));
      } catch (error) {
        const why = `${errorMessage(error)} (of ${target.length} bytes at offset ${offset})`;
        throw new FailedError(`cannot read ${label}: ${why}`, { cause: error });
      }
      if (bytesRead === 0) {
        throw new FailedError(
          `cannot read ${label}: it ends at offset ${offset + done}; it has become shorter while it was being read`,
        );
      }
      done += bytesRead;
    }
  };
}

/** The same with O_DIRECT, for which the memory must be aligned. Copying 1 MiB from there is cheap. */
function filledDirectly(file: FileHandle, label: string): Fill {
  const buffers = new AlignedBuffers(maxInFlight / longest, longest);
  const fill = filled(file, label);
  return (offset, target) =>
    buffers.with(async (buffer) => {
      const aligned = buffer.subarray(0, target.length);
      await fill(offset, aligned);
      target.set(aligned);
    });
}

/** A read cannot be ended, so its result is no longer waited for. @throws FailedError after `limitMs` */
async function within(limitMs: number, label: string, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new FailedError(`cannot read ${label}: no answer for ${limitMs / 1000} s`));
    }, limitMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Nothing was written, so an error of `close` does not matter. */
async function closeFile(file: FileHandle): Promise<void> {
  const closing = file.close().catch(() => undefined);
  await Promise.race([closing, sleep(closeLimitMs, undefined, { ref: false })]);
}
