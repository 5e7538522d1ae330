// A raw file of this machine as a DiskReader: its data is read here, without another program. Its extents come from
// `qemu-img map`, since Node.js cannot ask a file system for holes.
import { constants, open, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, FailedError } from '../report/errors.ts';
import type { DiskReader } from './disk-reader.ts';
import type { Extents } from './extents.ts';
import { readAhead, SpareBuffers, type ReadableDisk } from './read-ahead.ts';

const MiB = 1024 * 1024;
const longest = MiB;
/** As many requests as Node.js has threads for them; more are not faster. */
const maxInFlight = 4 * MiB;
/** Most of the time of a request goes into passing it to a thread. */
const maxGap = 64 * 1024;
const defaultStallMs = 120_000;
/** How long `close` waits for reads that are still in flight. */
const closeLimitMs = 5000;

export interface RawReaderOptions {
  /** With all links resolved. */
  readonly path: string;
  /** Bytes. */
  readonly virtualSize: number;
  /** Names the disk in messages: "disk 0 of VM 7". */
  readonly label: string;
  readonly findExtents: () => Promise<Extents>;
  readonly signal: AbortSignal;
  /** A read may take this long, in milliseconds. Default 120 s. */
  readonly stallMs?: number;
}

/**
 * Opens a raw file.
 * @throws FailedError when it cannot be opened, is not a regular file (a link is not one), or has another size
 */
export async function openRawReader(options: RawReaderOptions): Promise<DiskReader> {
  const { virtualSize, label, findExtents, signal, stallMs = defaultStallMs } = options;
  const file = await openFile(options);
  const disk: ReadableDisk = {
    async read(offset, target) {
      signal.throwIfAborted();
      await within(stallMs, label, fill(file, offset, target, label));
    },
    size: virtualSize,
    ...{ block: 1, longest, maxGap, maxInFlight },
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

async function openFile({ path, virtualSize, label }: RawReaderOptions): Promise<FileHandle> {
  const failed = (why: string, cause?: unknown): FailedError =>
    new FailedError(`cannot read ${label} (${path}): ${why}`, { cause });
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let file: FileHandle;
  try {
    // With O_NONBLOCK, opening a FIFO does not wait for somebody to write into it.
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    throw failed(errorMessage(error), error);
  }
  try {
    const found = await file.stat();
    if (!found.isFile()) throw failed('it is not a regular file');
    if (found.size === virtualSize) return file;
    throw failed(
      `it has ${found.size} bytes instead of ${virtualSize}; has it been resized meanwhile?`,
    );
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Fills `target`. @throws FailedError naming the offset when the file ends before that, or cannot be read */
async function fill(
  file: FileHandle,
  offset: number,
  target: Uint8Array,
  label: string,
): Promise<void> {
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
        `cannot read ${label}: its file ends at offset ${offset + done}; it has become shorter while it was being read`,
      );
    }
    done += bytesRead;
  }
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
