// Opens a bundle, with or without an index. docs/bundle-format.md specifies the format.
import type { BundleDisk, BundleSource, Piece, StateFile } from './bundle.ts';
import { openIndexed, openManifest } from './indexed-bundle.ts';
import type { Manifest } from '../format/manifest.ts';
import {
  prefixError,
  type OpenedContent,
  type OpenedBundle,
  type OpenOptions,
} from './opened-bundle.ts';
import { openScanned } from './scanned-bundle.ts';
import { decodeTrailer, longestTrailer, type Trailer } from '../format/trailer.ts';
import { findZeroTail } from './zero-tail.ts';

/**
 * Opens a bundle. `source` is closed when this fails, and when the bundle is closed. A bundle with an index is opened by reading a
 * few kilobytes, any other by reading all of it.
 * @throws BundleError when the file is not a bundle, is damaged, or contains what a bundle must not contain; the signal's
 *   reason when it is aborted
 */
export async function openBundle(
  source: BundleSource,
  options: OpenOptions,
): Promise<OpenedBundle> {
  try {
    const trailer = await findTrailer(source);
    return withNamedErrors(
      source,
      trailer ? await openIndexed(source, trailer, options) : await openScanned(source, options),
    );
  } catch (error) {
    await source.close();
    throw prefixError(`bundle ${source.name}`, error);
  }
}

/**
 * Opening a bundle skips at most this many zeros after its end, because they may have to be read over a network. A bundle with
 * more is read from the front, without its index.
 */
const fewZeros = 16 * 1024 * 1024;

/**
 * Finds the index; undefined when there is none.
 * @param mostZeros zeros after the index that are skipped, in bytes
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

/** The same limit for `list`, which opens many files, some of which may be hostile. */
const fewestZeros = 1024 * 1024;

/**
 * Reads only the manifest of a bundle with an index, which is a small part of the file; `source` stays open.
 * @returns undefined when there is no index
 * @throws BundleError when it is damaged
 */
export async function readManifestOnly(
  source: BundleSource,
  options: OpenOptions,
): Promise<Manifest | undefined> {
  const trailer = await findTrailer(source, fewestZeros);
  return trailer && openManifest(source, trailer, options);
}

/** Completes an opened bundle, and makes every error say which bundle it is about. */
export function withNamedErrors(source: BundleSource, opened: OpenedContent): OpenedBundle {
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
        throw prefixError(place, error);
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
        throw prefixError(place, error);
      }
    },
    async *pieces(options): AsyncGenerator<Piece> {
      try {
        yield* disk.pieces(options);
      } catch (error) {
        throw prefixError(place, error);
      }
    },
  };
}
