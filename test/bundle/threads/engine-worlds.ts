// The engines for the tests: each is chosen by what its machine lacks.
import {
  FrameThreads,
  type FrameThreadsOptions,
} from '../../../lib/bundle/threads/frame-threads.ts';
import { slotSizesFor } from '../../../lib/bundle/threads/frame-slot.ts';

export type Method = 'gzip' | 'zstd' | 'none';

export interface EngineWorld {
  readonly name: string;
  readonly method: Method;
  readonly level: number;
  readonly options: Partial<FrameThreadsOptions>;
}

/** A library that is there, but is another one. */
export const otherLibrary = 'libm.so.6';
const hasNodeZstd = 'zstdCompressSync' in (await import('node:zlib'));

const noFfi = { libraries: { koffi: [] } };

/** Every engine that can compress and decompress here. */
export const engineWorlds: readonly EngineWorld[] = [
  { name: 'libisal -0', method: 'gzip', level: 0, options: {} },
  { name: 'libisal -1', method: 'gzip', level: 1, options: {} },
  { name: 'libisal -2', method: 'gzip', level: 2, options: {} },
  { name: 'libisal -3', method: 'gzip', level: 3, options: {} },
  { name: 'the program igzip -1', method: 'gzip', level: 1, options: noFfi },
  { name: 'zlib -6', method: 'gzip', level: 6, options: noFfi },
  { name: 'libzstd -1', method: 'zstd', level: 1, options: {} },
  { name: 'libzstd -19', method: 'zstd', level: 19, options: {} },
  ...(hasNodeZstd
    ? [{ name: 'zstd of Node.js -3', method: 'zstd', level: 3, options: noFfi } as const]
    : [{ name: 'the program zstd -1', method: 'zstd', level: 1, options: noFfi } as const]),
  { name: 'no compression', method: 'none', level: 0, options: {} },
];

/** Starts threads for frames of up to `frameSize` bytes, with this engine. */
export function startThreads(
  { method, level, options }: Omit<EngineWorld, 'name'>,
  frameSize = 1024 * 1024,
): Promise<FrameThreads> {
  return FrameThreads.start({
    encode: { method, level },
    decode: [method],
    slots: () => slotSizesFor(frameSize),
    ...options,
  });
}

/** Compresses `data` as one frame; the result is a copy. */
export async function compressed(threads: FrameThreads, data: Uint8Array) {
  const slot = await threads.slots.take();
  slot.raw.set(data);
  const frame = await threads.compress(slot, data.length);
  const result = { stored: Buffer.from(frame.data), crc32: frame.crc32 };
  threads.slots.giveBack(slot);
  return result;
}

/** Decompresses one frame; the result is a copy. */
export async function decompressed(
  threads: FrameThreads,
  method: Method,
  frame: { readonly stored: Buffer; readonly crc32: number; readonly length: number },
): Promise<Buffer> {
  const slot = await threads.slots.take();
  try {
    frame.stored.copy(threads.storedPlace(slot, method));
    const { stored, ...facts } = frame;
    await threads.decompress(slot, { method, stored: stored.length, ...facts });
    return Buffer.from(slot.raw.subarray(0, frame.length));
  } finally {
    threads.slots.giveBack(slot);
  }
}
