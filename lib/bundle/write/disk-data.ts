// Passes the data of a disk from the reader to the frames, and checks that it is as much as the map has announced.
import type { DiskReader } from '../../read/disk-reader.ts';
import type { Extent } from '../../read/extent.ts';
import type { DataPiece } from '../../read/rbd-diff-stream.ts';
import { FailedError } from '../../report/errors.ts';
import type { DiskMember } from './disk-member.ts';
import { untilAborted } from './until-aborted.ts';

/**
 * Yields the data of a disk, at its place on the disk. A piece is given back to the reader once the consumer asks for the second piece after it.
 * @param id DISK_ID, for messages
 * @throws the reader's error; FailedError when the reader gives more or less than announced; the signal's reason
 */
export async function* announcedData(
  id: number,
  { extents }: DiskMember,
  reader: DiskReader,
  signal: AbortSignal,
): AsyncGenerator<DataPiece, void, void> {
  const { dataBytes } = extents;
  let read = 0;
  let previous: Uint8Array | undefined;
  const expected = extents[Symbol.iterator]();
  let extent: Extent | undefined;
  /** Bytes of the extent that have come. */
  let done = 0;
  for await (const data of untilAborted(reader.read(extents), signal)) {
    read += data.length;
    if (read > dataBytes) break;
    if (!extent || done === extent.length) {
      const { value } = expected.next();
      extent = value;
      done = 0;
    }
    // A piece never spans two extents.
    if (!extent || done + data.length > extent.length) break;
    yield { offset: extent.offset + done, data };
    done += data.length;
    if (previous) reader.recycle?.(previous);
    previous = data;
  }
  if (read === dataBytes) return;
  throw new FailedError(
    `cannot dump disk ${id}: its storage gave ${read > dataBytes ? 'more' : 'less'} ` +
      `than the ${dataBytes} bytes of data it had announced`,
  );
}
