// Decompresses frames in worker threads, several at a time, and yields them in order.
import { BundleError } from '../../report/errors.ts';
import type { Compression } from '../compression/compressions.ts';
import type { Frame, FrameList } from '../format/manifest.ts';
import { FrameDamage, storedBound } from '../threads/frame-engine.ts';
import type { FrameSlot } from '../threads/frame-slot.ts';
import { FrameThreads } from '../threads/frame-threads.ts';
import type { BundleSource } from './bundle.ts';

/** Bytes of the tar stream: less is not worth starting threads for. */
const leastForThreads = 16 * 1024 * 1024;

/** Bytes: larger frames, which we do not write, would take too much memory. */
const largestForThreads = 16 * 1024 * 1024;

/** Whether threads make it faster, and can do it: a frame that is much larger than its content has no place in them. */
export function suitThreads(frames: FrameList): boolean {
  let length = 0;
  for (const [, stored, frameLength] of frames) {
    if (frameLength > largestForThreads || stored > storedBound(frameLength)) return false;
    length += frameLength;
  }
  return length >= leastForThreads;
}

/**
 * The content of each frame, checked against its CRC-32 and length. It is valid until the next one is asked for.
 * @param onError makes the error of a frame, by its number
 */
export async function* threadedFrames(
  source: BundleSource,
  compression: Compression,
  frames: FrameList,
  signal: AbortSignal | undefined,
  onError: (index: number, reason: unknown) => unknown,
): AsyncGenerator<Buffer> {
  const sizes = { rawSize: 0, storedSize: 0 };
  for (const [, stored, length] of frames) {
    sizes.rawSize = Math.max(sizes.rawSize, length);
    sizes.storedSize = Math.max(sizes.storedSize, stored);
  }
  const threads = await FrameThreads.start({ decode: [compression], slots: () => sizes, signal });
  const started: Promise<FrameSlot>[] = [];
  try {
    let next = 0;
    for (let index = 0; index < frames.length; index++) {
      for (; next < Math.min(frames.length, index + threads.slots.count); next++) {
        const frame = frames.at(next);
        if (frame) started.push(decompressed(source, compression, frame, threads));
        // It is awaited when its turn comes.
        started.at(-1)?.catch(() => undefined);
      }
      const slot = await started.shift()?.catch((reason: unknown) => {
        throw onError(index, reason);
      });
      if (!slot) return;
      yield slot.raw.subarray(0, frames.at(index)?.[2] ?? 0);
      threads.slots.giveBack(slot);
    }
  } finally {
    await threads.close();
  }
}

async function decompressed(
  source: BundleSource,
  method: Compression,
  [offset, stored, length, crc32]: Frame,
  threads: FrameThreads,
): Promise<FrameSlot> {
  const slot = await threads.slots.take();
  const bytes = await source.read(offset, stored);
  if (bytes.length < stored) throw new BundleError('the file ends before it');
  bytes.copy(threads.storedPlace(slot, method));
  try {
    await threads.decompress(slot, { method, stored, length, crc32 });
  } catch (error) {
    if (error instanceof FrameDamage) throw new BundleError(error.message, { cause: error });
    throw error;
  }
  return slot;
}
