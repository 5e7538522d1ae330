// Reads all of a bundle and checks it against its own manifest and checksums. It cannot notice changed bits that do not change
// the unpacked bytes, such as the time in a gzip header.
import { BundleError } from '../../report/errors.ts';
import type { Progress, ProgressTask } from '../../report/progress.ts';
import type { Bundle, BundleDisk, BundleSource } from './bundle.ts';
import { FrameError, frameBytes } from './frame-stream.ts';
import { framesFrom } from '../format/frame-table.ts';
import { openIndexed } from './indexed-bundle.ts';
import { otherMembers } from './verify-members.ts';
import { compressions, type Compression } from '../compression/compressions.ts';
import type { DiskFormat, FrameList } from '../format/manifest.ts';
import { prefixError, type OpenedContent, type OpenOptions } from './opened-bundle.ts';
import { findTrailer, withNamedErrors } from './reader.ts';
import { openScanned } from './scanned-bundle.ts';
import { findZeroTail, mostZeros } from './zero-tail.ts';

export interface VerifyBundleOptions extends OpenOptions {
  /** Throws when the bundle could not be restored, even if all its checksums match. */
  readonly restorable: (bundle: Bundle) => Promise<void>;
  readonly progress: Progress;
}

export interface VerifiedDisk {
  readonly id: number;
  /** Undefined in bundles without a manifest. */
  readonly format: DiskFormat | undefined;
  /** Bytes of the disk file. */
  readonly size: number;
  readonly dataBytes: number;
  /** The checksum of its content, which was verified; undefined in bundles without a manifest. */
  readonly checksum: string | undefined;
}

/** The result for a bundle whose checksums all match. */
export interface VerifyReport {
  readonly bundle: string;
  /** Bytes of the file. */
  readonly size: number;
  readonly compression: Compression;
  readonly indexed: boolean;
  /** How many frames of the index were checked, the manifest's included; 0 without an index. */
  readonly frames: number;
  /** DISK_IDs of the VM's disks that were not requested. */
  readonly leftOut: readonly number[];
  readonly disks: readonly VerifiedDisk[];
}

/** In a tar header (POSIX ustar, also in GNU's). */
const tarMagic = Buffer.from('ustar', 'latin1');
const tarMagicOffset = 257;

/** The number of damaged places after which verify stops looking: more would not help the reader of the error. */
const mostPlaces = 20;

/**
 * Reads everything and closes `source`.
 * @throws BundleError that names every damaged place; the signal's reason when it is aborted
 */
export async function verifyBundle(
  source: BundleSource,
  options: VerifyBundleOptions,
): Promise<VerifyReport> {
  try {
    return await verify(source, options);
  } catch (error) {
    throw prefixError(`bundle ${source.name}`, error);
  } finally {
    await source.close();
  }
}

async function verify(source: BundleSource, options: VerifyBundleOptions): Promise<VerifyReport> {
  const trailer = await findTrailer(source, mostZeros);
  const opened = trailer
    ? await openIndexed(source, trailer, options)
    : await openScanned(source, options);
  if (await indexIsLost(source, opened)) {
    throw new BundleError(
      'the index at its end is damaged or missing; restoring is still possible',
    );
  }
  // Without a manifest there are no checksums, and the first pass has checked everything else.
  const places = opened.manifest ? await verifyDisks(source, opened, options) : [];
  if (places.length > 0) throw new BundleError(describe(places));
  await options.restorable(withNamedErrors(source, opened));
  return await report(source, opened);
}

/** Whether all members are where the manifest says. Then the bundle was not compressed again, but its index is missing. */
async function indexIsLost(
  source: BundleSource,
  { indexed, indexLost, manifest, compression }: OpenedContent,
): Promise<boolean> {
  if (indexLost) return true;
  if (indexed || manifest?.compression !== compression) return false;
  // After more zeros than were read, there may be an index.
  if ((await findZeroTail(source, mostZeros)) === undefined) return false;
  const { frameMagic } = compressions[compression];
  for (const { offset } of manifest.members) {
    // Without compression a member begins with its tar header.
    const [mark, at] = frameMagic ? [frameMagic, offset] : [tarMagic, offset + tarMagicOffset];
    const found = await source.read(at, mark.length);
    if (!found.equals(mark)) return false;
  }
  return true;
}

/** @returns an error for each damaged place */
async function verifyDisks(
  source: BundleSource,
  opened: OpenedContent,
  options: VerifyBundleOptions,
) {
  const { disks } = opened;
  const total = disks.reduce((sum, { dataBytes }) => sum + dataBytes, 0);
  const task = options.progress.begin('verify', total);
  const places: BundleError[] = [];
  try {
    for (const check of otherMembers(source, opened, options.signal)) {
      await check().catch((error: unknown) => {
        if (!(error instanceof BundleError)) throw error;
        places.push(error);
      });
    }
    for (const disk of disks) {
      if (places.length > mostPlaces) break;
      try {
        await verifyDisk(disk, task);
      } catch (error) {
        if (!(error instanceof BundleError)) throw error;
        const frames = opened.indexed ? await damagedFrames(source, opened, disk, options) : [];
        places.push(...(frames.length > 0 ? frames : [error]));
      }
    }
  } finally {
    task.end();
  }
  return places;
}

async function verifyDisk(disk: BundleDisk, task: ProgressTask) {
  try {
    for await (const { data } of disk.pieces({ verifyTable: true })) task.add(data.length);
  } catch (error) {
    throw prefixError(`disk ${disk.id}`, error);
  }
}

/** Finds all damaged frames of a disk after a failure, by reading them separately: a damaged frame hides the next ones. */
async function damagedFrames(
  source: BundleSource,
  { compression }: OpenedContent,
  disk: BundleDisk,
  { signal }: VerifyBundleOptions,
): Promise<BundleError[]> {
  const { id } = disk;
  const frames = await framesOf(disk);
  /** The first error from `first` on. */
  const check = async (first: number, count = frames.length) => {
    const some = framesFrom(frames, first, count);
    // One after another: the memory of worker threads that are started again and again stays for a while.
    const options = { label: `disk ${id}`, first, parallel: 1, signal };
    const bytes = frameBytes(source, compression, some, options);
    try {
      while ((await bytes.next()).done !== true);
    } catch (error) {
      if (error instanceof FrameError) return error;
      throw error;
    }
    return undefined;
  };
  const places: BundleError[] = [];
  for (let first = 0; first < frames.length && places.length <= mostPlaces;) {
    let found = await check(first);
    if (!found) break;
    // When one process decompresses many frames, its error may be about a neighbour of the damaged frame, so each is read alone.
    for (let index = Math.max(first, found.index - 1); index <= found.index + 1; index++) {
      const alone = await check(index, 1);
      if (!alone) continue;
      found = alone;
      break;
    }
    places.push(found);
    first = found.index + 1;
  }
  return places;
}

/** None if the table itself is damaged. */
async function framesOf(disk: BundleDisk): Promise<FrameList> {
  try {
    return (await (await disk.table?.())?.frames()) ?? [];
  } catch (error) {
    if (error instanceof BundleError) return [];
    throw error;
  }
}

function describe(places: readonly BundleError[]): string {
  const messages = places.slice(0, mostPlaces).map(({ message }) => message);
  return [...messages, ...(places.length > mostPlaces ? ['and more places'] : [])].join('; ');
}

async function report(source: BundleSource, opened: OpenedContent): Promise<VerifyReport> {
  const { indexed, compression, manifest, disks } = opened;
  let frames =
    manifest?.members.reduce((sum, member) => sum + (member.frames?.length ?? 0), 1) ?? 0;
  for (const disk of disks) frames += (await disk.table?.())?.header.frames ?? 0;
  return {
    bundle: source.name,
    size: source.size,
    compression,
    indexed,
    frames: indexed ? frames : 0,
    leftOut: manifest?.leftOut ?? [],
    disks: disks.map(({ id, format, size, dataBytes }) => ({
      id,
      format,
      size,
      dataBytes,
      checksum: manifest?.disks.find((disk) => disk.id === id)?.checksum,
    })),
  };
}
