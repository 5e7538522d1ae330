// Opens a bundle, however it was made. docs/bundle-format.md says what a bundle is.
import type { BundleDisk, BundleSource, Piece, StateFile } from './bundle.ts';
import { openIndexed, openManifest } from './indexed-bundle.ts';
import type { Manifest } from '../format/manifest.ts';
import { placed, type Opened, type OpenedBundle, type OpenOptions } from './opened-bundle.ts';
import { openScanned } from './scanned-bundle.ts';
import { decodeTrailer, longestTrailer, type Trailer } from '../format/trailer.ts';
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

/** A list looks at many files, which may be anybody's: less of each. */
const fewestZeros = 1024 * 1024;
/** No manifest of ours compresses so well; one that does takes far longer to read than its file is large. */
const bestRatio = 64;
const smallManifest = 1024 * 1024;

/**
 * The manifest of a bundle with an index, by reading a small part of the file; `source` stays open.
 * @returns undefined when there is no index
 * @throws BundleError when it is damaged, or takes longer than a list can wait
 */
export async function readManifestOnly(
  source: BundleSource,
  options: OpenOptions,
): Promise<Manifest | undefined> {
  const trailer = await findTrailer(source, fewestZeros);
  if (!trailer) return undefined;
  return openManifest(
    source,
    trailer,
    options,
    Math.max(smallManifest, bestRatio * trailer.stored),
  );
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
