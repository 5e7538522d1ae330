// The map of a sparse member says to which bytes of the file the stored data belongs. It is generated in pieces, because
// a fragmented disk has millions of extents. Format: GNU tar manual, "Storing Sparse Files, PAX Format 1.0".
import type { Extents } from '../../read/extents.ts';
import { tarPadding } from './tar-header.ts';

const chunkSize = 64 * 1024;

/** Bytes of the map with its padding. */
export function sparseMapSize(extents: Extents, virtualSize: number): number {
  let size = 0;
  for (const text of mapTexts(extents, virtualSize)) size += text.length;
  return size + tarPadding(size);
}

/** The map with its padding, in pieces. */
export function* sparseMap(extents: Extents, virtualSize: number): Generator<Buffer> {
  let size = 0;
  for (const text of mapTexts(extents, virtualSize)) {
    size += text.length;
    yield Buffer.from(text, 'latin1');
  }
  yield Buffer.alloc(tarPadding(size));
}

function* mapTexts(extents: Extents, virtualSize: number): Generator<string> {
  // GNU tar also ends the map with an empty extent in this case, so that the file gets its full size.
  const endsInHole = extents.end < virtualSize;
  let text = `${extents.length + (endsInHole ? 1 : 0)}\n`;
  for (const { offset, length } of extents) {
    text += `${offset}\n${length}\n`;
    if (text.length >= chunkSize) {
      yield text;
      text = '';
    }
  }
  if (endsInHole) text += `${virtualSize}\n0\n`;
  yield text;
}
