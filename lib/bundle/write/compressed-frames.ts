// The compressing pipeline: a frame is written to a scratch file, a compressor turns it into another
// scratch file, and the results are appended to the sink in order. While one frame fills, others are
// being compressed. Scratch files are used again and again: fresh pages cost more than old ones.
import type { FileHandle } from 'node:fs/promises';
import type { CompressingCodec, FrameCompressor } from './frame-codec.ts';
import { frameSize, type FrameBody } from './frame-body.ts';
import { createGatherer, type Gatherer } from './write-buffer.ts';
import type { Frame } from '../format/manifest.ts';
import { createScratch, readAll, scratchFolder, writeScratch } from './scratch.ts';
import type { BundleSink } from '../sink.ts';
import { isZero } from '../zeros.ts';

/** Frames under way: one fills, the others are being compressed. More are not faster (see bench/). */
const slotCount = 3;
const copySize = 1024 * 1024;
/** The compressed zero frame is kept up to this size; all compressors make far less of 8 MiB. */
const largestZeroFrame = 1024 * 1024;
/** Frames that wait to be appended; only those of zeros, which need no slot, come to so many. */
const longestQueue = 64;

const zeros = Buffer.alloc(copySize);

interface Slot {
  readonly raw: FileHandle;
  readonly stored: FileHandle;
  readonly compressor: FrameCompressor;
}

/** Frames compressed by `codec`; `signal` kills compressors and makes every call reject. */
export function compressedFrames(
  sink: BundleSink,
  codec: CompressingCodec,
  signal: AbortSignal,
): FrameBody {
  const closing = new AbortController();
  const stop = AbortSignal.any([signal, closing.signal]);
  const slots: Promise<Slot>[] = [];
  const free: Slot[] = [];
  const queue: Promise<void>[] = [];
  const running = new Set<Promise<unknown>>();
  const frames: Frame[] = [];
  const copyBuffer = Buffer.allocUnsafeSlow(copySize);

  let current: { slot: Slot; gatherer: Gatherer } | undefined;
  /** Zeros at the start of the current frame, not written anywhere yet. */
  let leadingZeros = 0;
  let zeroFrame: Buffer | undefined;
  let appended = Promise.resolve();
  let offset = 0;

  async function add(data: Uint8Array): Promise<void> {
    if (!current && isZero(data)) {
      leadingZeros += data.length;
      return;
    }
    current ??= await openFrame();
    await current.gatherer.add(data);
  }

  async function openFrame() {
    const slot = await takeSlot();
    let position = 0;
    const gatherer = createGatherer(async (data) => {
      await writeScratch(slot.raw, data, position);
      position += data.length;
    });
    while (leadingZeros > 0) {
      const part = zeros.subarray(0, Math.min(leadingZeros, zeros.length));
      await gatherer.add(part);
      leadingZeros -= part.length;
    }
    return { slot, gatherer };
  }

  async function takeSlot(): Promise<Slot> {
    for (;;) {
      stop.throwIfAborted();
      const slot = free.pop();
      if (slot) return slot;
      if (slots.length < slotCount) return createSlot();
      await oldestAppended();
    }
  }

  /** Waits for the oldest frame; after a failure every call rejects with the first error. */
  async function oldestAppended(): Promise<void> {
    await (queue.shift() ?? appended);
  }

  function createSlot(): Promise<Slot> {
    const slot = newSlot(codec, stop);
    slots.push(slot);
    return slot;
  }

  async function end(length: number, crc: number): Promise<void> {
    const onlyZeros = !current && length === frameSize;
    if (onlyZeros && zeroFrame) {
      leadingZeros = 0;
      await endZeroFrame(zeroFrame, crc);
      return;
    }
    const { slot, gatherer } = (current ??= await openFrame());
    current = undefined;
    await gatherer.flush();
    if (length < frameSize) await slot.raw.truncate(length);
    const compressed = slot.compressor.compress(length, crc);
    track(compressed);
    append(async () => {
      const stored = await compressed;
      await copyToSink(slot.stored, stored);
      if (onlyZeros && stored <= largestZeroFrame) zeroFrame ??= await load(slot.stored, stored);
      frames.push([offset, stored, length, crc]);
      offset += stored;
      free.push(slot);
    });
  }

  async function endZeroFrame(stored: Buffer, crc: number): Promise<void> {
    append(async () => {
      await sink.write(stored);
      frames.push([offset, stored.length, frameSize, crc]);
      offset += stored.length;
    });
    if (queue.length >= longestQueue) await oldestAppended();
  }

  /** Lets `work` append a frame after those before it. After an error nothing more is appended. */
  function append(work: () => Promise<void>): void {
    appended = appended.then(work);
    track(appended);
    queue.push(appended);
  }

  /** Its error surfaces where it is awaited; `close` waits for its end. */
  function track(work: Promise<unknown>): void {
    running.add(work);
    const ended = () => void running.delete(work);
    work.then(ended, ended);
  }

  async function copyToSink(file: FileHandle, length: number): Promise<void> {
    for (let at = 0; at < length; at += copySize) {
      stop.throwIfAborted();
      const size = Math.min(copySize, length - at);
      await readAll(file, copyBuffer, size, at);
      await sink.write(copyBuffer.subarray(0, size));
    }
  }

  return {
    add,
    end,
    async flush() {
      await appended;
      queue.length = 0;
      return frames;
    },
    async close() {
      closing.abort();
      await current?.gatherer.flush().catch(() => undefined);
      await Promise.allSettled(running);
      const files = await Promise.allSettled(slots.splice(0));
      for (const file of files) {
        if (file.status === 'fulfilled') await closeSlot(file.value);
      }
    },
  };
}

async function newSlot(codec: CompressingCodec, signal: AbortSignal): Promise<Slot> {
  const folder = await scratchFolder(2 * slotCount * frameSize);
  const raw = await createScratch(folder);
  try {
    const stored = await createScratch(folder);
    return { raw, stored, compressor: codec.start(raw, stored, signal) };
  } catch (error) {
    await raw.close();
    throw error;
  }
}

async function closeSlot({ raw, stored, compressor }: Slot): Promise<void> {
  await compressor.close();
  await Promise.allSettled([raw.close(), stored.close()]);
}

async function load(file: FileHandle, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  await readAll(file, buffer, length, 0);
  return buffer;
}
