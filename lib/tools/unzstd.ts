// Decompresses zstd by the program of that name: Node has no zstd before version 22.15.
import { pipeThrough } from '../run/pipe-through.ts';

/** Decompresses a stream, or throws CommandError. Ends the program when the caller stops early. */
export type Decompressor = (
  input: AsyncIterable<Buffer>,
  signal?: AbortSignal,
) => AsyncIterable<Buffer>;

/** All zstd frames of `input`, one after another; skippable frames are skipped. */
export const unzstd: Decompressor = (input, signal) =>
  pipeThrough({ program: 'zstd', args: ['-d', '-c', '-q', '--no-progress'] }, input, {
    doing: 'decompress the bundle',
    signal,
  });
