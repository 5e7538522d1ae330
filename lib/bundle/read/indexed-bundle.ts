// Reads a bundle with an index: the manifest at its end, and then only what is requested.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { BundleError } from '../../report/errors.ts';
import type { BundleDisk, BundleSource, Piece, PiecesOptions, StateFile } from './bundle.ts';
import { ByteReader } from './byte-reader.ts';
import {
  checkedPieces,
  checkMember,
  emptyHead,
  expectedDisk,
  fillHead,
  type ExpectedDisk,
} from './checked-pieces.ts';
import { decompress } from './decompress.ts';
import { frameBytes, type FrameStreamOptions } from './frame-stream.ts';
import { readManifestMember } from './manifest-read.ts';
import type { ContentCheck } from './content-check.ts';
import { isStateMember, type FrameList, type Manifest } from '../format/manifest.ts';
import { regionsMember } from '../format/manifest-parse.ts';
import type { RegionContent } from '../format/region-table-encode.ts';
import { checkPlaces, memberNamed } from './member-places.ts';
import { readRegion } from './region-read.ts';
import { openRegionTable } from './region-table-read.ts';
import { checkTable } from './table-check.ts';
import {
  largestVmXml,
  prefixError,
  type OpenOptions,
  type OpenedContent,
} from './opened-bundle.ts';
import { readState } from './state-file.ts';
import { memberBytes, nextMember } from './tar-member.ts';
import type { Trailer } from '../format/trailer.ts';

/** Opens a bundle with an index. @throws BundleError when the manifest is damaged or does not agree with the file */
export async function openIndexed(
  source: BundleSource,
  trailer: Trailer,
  options: OpenOptions,
): Promise<OpenedContent> {
  const { signal } = options;
  const manifest = await openManifest(source, trailer, options);
  const disks = manifest.disks.map((disk): BundleDisk => {
    const expected = expectedDisk(manifest, disk);
    const label = `disk ${disk.id}`;
    const table = once(() => openRegionTable(source, manifest, disk, signal));
    const frames = once(async () => (await table()).frames());
    const pieces = (asked: PiecesOptions, parallel?: number) => {
      const reading = { label, signal, ...(parallel !== undefined && { parallel }) };
      const checked = { ...asked, expected, frames };
      return diskPieces(source, manifest, checked, reading);
    };
    return {
      id: disk.id,
      member: disk.member,
      size: expected.size,
      dataBytes: expected.dataBytes,
      format: disk.format,
      head: () => readHead(expected.size, pieces({}, 1)),
      pieces: (asked = {}) => pieces(asked),
      table,
      region: async (index) =>
        readRegion(source, manifest.compression, await table(), index, { label, signal }),
    };
  });
  return {
    indexed: true,
    indexLost: false,
    compression: manifest.compression,
    about: manifest,
    manifest,
    vmXml: await readVmXml(source, manifest, signal),
    state: stateOf(source, manifest, signal),
    disks,
  };
}

/** Calls `read` at most once, unless it fails. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | undefined;
  return () => {
    kept ??= read().catch((error: unknown) => {
      kept = undefined;
      throw error;
    });
    return kept;
  };
}

/**
 * Reads only the manifest, from the last frame, and checks it against the file.
 * @throws BundleError when it is damaged or does not agree with the file
 */
export async function openManifest(
  source: BundleSource,
  trailer: Trailer,
  { log, signal }: OpenOptions,
): Promise<Manifest> {
  const range = { offset: trailer.offset, length: trailer.stored };
  const stream = withCrc(decompress(source, range, trailer.compression, signal), trailer.crc32);
  const input = new ByteReader(stream);
  try {
    const member = await nextMember(input);
    if (member?.name.kind !== 'manifest.json') {
      throw new BundleError(`no manifest at byte ${trailer.offset}, where the index says it is`);
    }
    const { manifest, bytes } = await readManifestMember(input, member, log);
    if (!createHash('sha256').update(bytes).digest().equals(trailer.sha256)) {
      throw new BundleError('manifest.json: SHA-256 is not that of the index');
    }
    if (await nextMember(input)) throw new BundleError('manifest.json is not the last member');
    checkPlaces(manifest, trailer);
    return manifest;
  } finally {
    await input.close();
  }
}

/** @throws BundleError at the end when the bytes have another CRC-32 */
async function* withCrc(chunks: AsyncIterable<Buffer>, expected: number): AsyncGenerator<Buffer> {
  let crc = 0;
  for await (const chunk of chunks) {
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (crc !== expected) throw new BundleError('manifest.json: CRC is not that of the index');
}

/** Reads `vm.xml` from the first frame, which also contains the folder. */
async function readVmXml(source: BundleSource, manifest: Manifest, signal?: AbortSignal) {
  return withMember(source, manifest, './vm.xml', signal, async (input, sha256) => {
    const first = await nextMember(input);
    const member = first?.name.kind === 'folder' ? await nextMember(input) : first;
    if (member?.name.kind !== 'vm.xml') throw new BundleError('vm.xml is not the first member');
    const bytes = await memberBytes(input, member, largestVmXml);
    if (createHash('sha256').update(bytes).digest('hex') === sha256) return bytes;
    throw new BundleError('vm.xml: SHA-256 is not that of the manifest');
  });
}

function stateOf(source: BundleSource, manifest: Manifest, signal?: AbortSignal): StateFile[] {
  return manifest.members.flatMap(({ name, size }) => {
    if (!isStateMember(name)) return [];
    const read = () =>
      withMember(source, manifest, name, signal, async (input, sha256) =>
        readState(input, await nextMember(input), { member: name, sha256 }),
      );
    return [{ member: name, size, read }];
  });
}

/** Calls `read` with the tar stream of a member that is not a disk. @throws BundleError also when not all of it is read */
export async function withMember<T>(
  source: BundleSource,
  manifest: Manifest,
  name: string,
  signal: AbortSignal | undefined,
  read: (input: ByteReader, sha256: string | undefined) => Promise<T>,
): Promise<T> {
  const { frames = [], sha256 } = memberNamed(manifest, name);
  const label = name.replace('./', '');
  const stream = frameBytes(source, manifest.compression, frames, { label, signal });
  const input = new ByteReader(stream);
  try {
    const result = await read(input, sha256);
    await expectEnd(input, label);
    return result;
  } catch (error) {
    throw prefixError(label, error);
  } finally {
    await input.close();
  }
}

interface CheckedDisk extends PiecesOptions {
  readonly expected: ExpectedDisk;
  readonly frames: () => Promise<FrameList>;
}

async function* diskPieces(
  source: BundleSource,
  manifest: Manifest,
  { expected, frames, verifyTable = false }: CheckedDisk,
  options: FrameStreamOptions,
): AsyncGenerator<Piece> {
  const { compression } = manifest;
  let check: ContentCheck | undefined;
  try {
    const input = new ByteReader(frameBytes(source, compression, await frames(), options));
    try {
      const member = await nextMember(input);
      if (!member) throw new BundleError('the archive ends where it should be');
      checkMember(member, expected);
      const found = verifyTable ? (all: ContentCheck) => (check = all) : undefined;
      yield* checkedPieces(input, member, expected, member.headSize, found);
      await expectEnd(input, options.label);
    } finally {
      await input.close();
    }
    const content = check?.content();
    if (content) await verifyTableOf(source, manifest, expected.id, content, options.signal);
  } catch (error) {
    throw prefixError(options.label, error);
  }
}

async function verifyTableOf(
  source: BundleSource,
  manifest: Manifest,
  id: number,
  content: RegionContent,
  signal: AbortSignal | undefined,
): Promise<void> {
  await withMember(source, manifest, regionsMember(id), signal, async (input) => {
    const member = await nextMember(input);
    if (member?.name.kind !== 'regions' || member.name.id !== id) {
      throw new BundleError('the region table is not where it should be');
    }
    await checkTable(input, member, content);
  });
}

/** Returns the first bytes of the disk (holes as zeros) without reading later frames. */
async function readHead(size: number, pieces: AsyncIterable<Piece>): Promise<Buffer> {
  const head = emptyHead(size);
  for await (const piece of pieces) {
    if (!fillHead(head, piece)) break;
  }
  return head;
}

/** @throws BundleError when the frames contain more than the member */
async function expectEnd(input: ByteReader, label: string): Promise<void> {
  if (await input.next(1)) throw new BundleError(`${label} has more frames than it needs`);
}
