// Opens a bundle, however it was made. docs/bundle-format.md says what a bundle is.
import type { BundleDisk, BundleSource, Piece } from './bundle.ts';
import { openIndexed } from './indexed.ts';
import { placed, type Opened, type OpenedBundle, type OpenOptions } from './opened.ts';
import { openScanned } from './scanned.ts';
import type { StateFile } from './state-file.ts';
import { decodeTrailer, longestTrailer, type Trailer } from './trailer.ts';
import { findZeroTail } from './zero-tail.ts';

/**
 * Opens a bundle and takes over `source`, which is closed when this fails or the bundle is closed. A
 * bundle with an index is opened by reading a few kilobytes, another one by reading all of it.
 * @throws BundleError when it is none, is damaged, or holds what a bundle must not hold; the
 *   signal's reason when it is aborted
 */
export async function openBundle(
  source: BundleSource,
  options: OpenOptions,
): Promise<OpenedBundle> {
  try {
    const trailer = await findTrailer(source);
    return named(
      source,
      trailer ? await openIndexed(source, trailer, options) : await openScanned(source, options),
    );
  } catch (error) {
    await source.close();
    throw placed(`bundle ${source.name}`, error);
  }
}

/**
 * Opening a bundle looks at so many zeros behind its end, over a network too. One with more behind it is read from
 * the front, without its index.
 */
const fewZeros = 16 * 1024 * 1024;

/**
 * Where the index is; undefined when there is none.
 * @param mostZeros bytes behind the index that are passed over
 */
export async function findTrailer(
  source: BundleSource,
  mostZeros = fewZeros,
): Promise<Trailer | undefined> {
  const zeros = await findZeroTail(source, mostZeros);
  if (zeros === undefined) return undefined;
  const start = Math.max(0, zeros - longestTrailer);
  const end = Math.min(source.size, zeros + longestTrailer);
  return decodeTrailer(await source.read(start, end - start), end);
}

/** Lets every error say which bundle it is about. */
export function named(source: BundleSource, opened: Opened): OpenedBundle {
  const { name, modified } = source;
  return {
    ...opened,
    name,
    modified,
    state: opened.state.map((file) => namedState(`bundle ${name}`, file)),
    disks: opened.disks.map((disk) => namedDisk(`bundle ${name}`, disk)),
    close: () => source.close(),
  };
}

function namedState(place: string, file: StateFile): StateFile {
  return {
    ...file,
    async read() {
      try {
        return await file.read();
      } catch (error) {
        throw placed(place, error);
      }
    },
  };
}

function namedDisk(place: string, disk: BundleDisk): BundleDisk {
  return {
    ...disk,
    async head() {
      try {
        return await disk.head();
      } catch (error) {
        throw placed(place, error);
      }
    },
    async *pieces(): AsyncGenerator<Piece> {
      try {
        yield* disk.pieces();
      } catch (error) {
        throw placed(place, error);
      }
    },
  };
}
