// Reads a bundle with an index: the manifest at its end, and then only what is requested.
import { crc32 } from 'node:zlib';
import { BundleError } from '../../report/errors.ts';
import type { BundleDisk, BundleSource, Piece, StateFile } from './bundle.ts';
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
import type { FrameList, Manifest } from '../format/manifest.ts';
import { quoted } from '../format/member-name.ts';
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
    const frames = framesOf(manifest, disk.member);
    const label = `disk ${disk.id}`;
    const pieces = (parallel?: number) => {
      const reading = { label, signal, ...(parallel !== undefined && { parallel }) };
      return diskPieces(source, manifest, frames, expected, reading);
    };
    return {
      id: disk.id,
      member: disk.member,
      size: expected.size,
      dataBytes: expected.dataBytes,
      format: disk.format,
      head: () => readHead(expected.size, pieces(1)),
      pieces: () => pieces(),
    };
  });
  return {
    indexed: true,
    indexLost: false,
    compression: manifest.compression,
    manifest,
    vmXml: await readVmXml(source, manifest, signal),
    state: stateOf(source, manifest, signal),
    disks,
  };
}

/** The frames of a member. */
export function framesOf({ members }: Manifest, name: string): FrameList {
  return members.find((member) => member.name === name)?.frames ?? [];
}

/**
 * Reads only the manifest, from the last frame, and checks it against the file.
 * @param limit bytes that it may have
 * @throws BundleError when it is damaged or does not agree with the file
 */
export async function openManifest(
  source: BundleSource,
  trailer: Trailer,
  { log, signal }: OpenOptions,
  limit?: number,
): Promise<Manifest> {
  const range = { offset: trailer.offset, length: trailer.stored };
  const bytes = withCrc(decompress(source, range, trailer.compression, signal), trailer.crc32);
  const input = new ByteReader(bytes);
  try {
    const member = await nextMember(input);
    if (member?.name.kind !== 'manifest.json') {
      throw new BundleError(`no manifest at byte ${trailer.offset}, where the index says it is`);
    }
    const manifest = await readManifestMember(input, member, log, limit);
    if (await nextMember(input)) throw new BundleError('manifest.json is not the last member');
    checkFrames(manifest, trailer);
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

/**
 * Checks that the frames follow one another without gaps, from the start of the file to the manifest's frame.
 * @throws BundleError when they do not
 */
export function checkFrames({ members, compression }: Manifest, trailer: Trailer): void {
  if (compression !== trailer.compression) {
    throw new BundleError(`manifest.json says ${compression}, but it is ${trailer.compression}`);
  }
  let end = 0;
  for (const { name, frames } of members) {
    if (frames.length === 0) throw new BundleError(`manifest.json: ${quoted(name)} has no frames`);
    let index = 0;
    for (const [offset, stored, length] of frames) {
      const wrong = (what: string) =>
        new BundleError(`manifest.json: ${quoted(name)}, frame ${index} ${what}`);
      if (offset !== end) throw wrong(`is at byte ${offset}, expected ${end}`);
      if (length === 0 || stored === 0 || (compression === 'none' && stored !== length)) {
        throw wrong('has no valid length');
      }
      end += stored;
      index += 1;
    }
  }
  if (end !== trailer.offset) {
    throw new BundleError(
      `manifest.json: the frames end at byte ${end}, its own begins at byte ${trailer.offset}`,
    );
  }
}

/** Reads `vm.xml` from the first frame, which also contains the folder. */
async function readVmXml(source: BundleSource, manifest: Manifest, signal?: AbortSignal) {
  const label = 'vm.xml';
  const frames = framesOf(manifest, './vm.xml');
  const input = new ByteReader(frameBytes(source, manifest.compression, frames, { label, signal }));
  try {
    const first = await nextMember(input);
    const member = first?.name.kind === 'folder' ? await nextMember(input) : first;
    if (member?.name.kind !== 'vm.xml') throw new BundleError('vm.xml is not the first member');
    const bytes = await memberBytes(input, member, largestVmXml);
    await expectEnd(input, label);
    return bytes;
  } finally {
    await input.close();
  }
}

function stateOf(source: BundleSource, manifest: Manifest, signal?: AbortSignal): StateFile[] {
  return (manifest.state ?? []).map((listed) => ({
    member: listed.member,
    size: manifest.members.find(({ name }) => name === listed.member)?.size ?? NaN,
    async read() {
      const label = listed.member;
      const frames = framesOf(manifest, listed.member);
      const options = { label, signal };
      const input = new ByteReader(frameBytes(source, manifest.compression, frames, options));
      try {
        const bytes = await readState(input, await nextMember(input), listed);
        await expectEnd(input, label);
        return bytes;
      } catch (error) {
        throw prefixError(label, error);
      } finally {
        await input.close();
      }
    },
  }));
}

async function* diskPieces(
  source: BundleSource,
  { compression }: Manifest,
  frames: FrameList,
  expected: ExpectedDisk,
  options: FrameStreamOptions,
): AsyncGenerator<Piece> {
  const input = new ByteReader(frameBytes(source, compression, frames, options));
  try {
    const member = await nextMember(input);
    if (!member) throw new BundleError('the archive ends where it should be');
    checkMember(member, expected);
    yield* checkedPieces(input, member, expected);
    await expectEnd(input, options.label);
  } catch (error) {
    throw prefixError(options.label, error);
  } finally {
    await input.close();
  }
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
