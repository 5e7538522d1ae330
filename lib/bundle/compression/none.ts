// No compression: a bundle is the tar stream itself, and a frame a part of it.
import { Readable } from 'node:stream';
import type { CompressionFormat } from './compression-format.ts';

export const none = {
  extension: 'tar',
  // One tar block with the record.
  trailer: { before: Buffer.alloc(0), after: Buffer.alloc(448) },
  // The magic of POSIX ustar, and of GNU tar, which has blanks after it.
  isStart: (head) => head.toString('latin1', 257, 262) === 'ustar',
  decompress({ chunks }) {
    const output = asTheyAre(chunks);
    return { chunks: output, stop: () => void output.return(undefined) };
  },
} as const satisfies CompressionFormat;

async function* asTheyAre(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  // Through a stream, which reads ahead while the caller works.
  yield* Readable.from(chunks, { highWaterMark: 4 }) as AsyncIterable<Buffer>;
}
