// Passes the data of a disk from the reader to the frames, and checks that it is as much as the map has announced.
import type { DiskReader } from '../../read/disk-reader.ts';
import { FailedError } from '../../report/errors.ts';
import type { DiskMember } from './disk-member.ts';
import { untilAborted } from './until-aborted.ts';

/**
 * Yields the data of a disk. A piece is given back to the reader once the consumer asks for the second piece after it.
 * @param id DISK_ID, for messages
 * @throws the reader's error; FailedError when the reader gives more or less than announced; the signal's reason
 */
export async function* announcedData(
  id: number,
  { extents }: DiskMember,
  reader: DiskReader,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const { dataBytes } = extents;
  let read = 0;
  let previous: Uint8Array | undefined;
  for await (const piece of untilAborted(reader.read(extents), signal)) {
    read += piece.length;
    if (read > dataBytes) break;
    yield piece;
    if (previous) reader.recycle?.(previous);
    previous = piece;
  }
  if (read === dataBytes) return;
  throw new FailedError(
    `cannot dump disk ${id}: its storage gave ${read > dataBytes ? 'more' : 'less'} ` +
      `than the ${dataBytes} bytes of data it had announced`,
  );
}
