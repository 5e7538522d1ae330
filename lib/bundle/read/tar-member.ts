// Reads the members of a tar archive one after another, from a stream that may be hostile: plain files, and sparse files in all
// four formats of GNU tar. npm's tar decodes the header block. Its Parser is not used, because it drops or damages sparse
// members without an error.
import { Header } from 'tar';
import { BundleError, errorMessage } from '../../report/errors.ts';
import type { Piece } from './bundle.ts';
import type { ByteReader } from './byte-reader.ts';
import type { ExtentMap } from './extent-map.ts';
import { LostEndError } from '../lost-end-error.ts';
import { memberLabel, memberName, quoted, type MemberName } from '../format/member-name.ts';
import { noPax, parsePaxHeader, paxNumber, type PaxHeader } from './pax-records.ts';
import { readSparse } from './sparse-formats.ts';
import { folderHeader, tarPadding } from '../format/tar-header.ts';
import { beginsLikeTrailer, isTrailerBlock } from '../format/trailer.ts';
import { isZero } from '../zeros.ts';
import { mostZeros } from './zero-tail.ts';

/** A member whose headers and map have been read. Its data is next in the stream. */
export interface TarMember {
  readonly name: MemberName;
  /** The name in the archive under which it is extracted. */
  readonly path: string;
  /** Whether it is a folder or raw disk with headers as only onevmdump writes them, not GNU tar or bsdtar. */
  readonly isOwn: boolean;
  /** Bytes of its headers and of its map. */
  readonly headSize: number;
  /** The extents of the extracted file. */
  readonly map: ExtentMap;
  /** Bytes from the data to the next header. */
  readonly padding: number;
}

const blockSize = 512;
/** Bytes; the map of sparse formats 0.0 and 0.1 is in this header, and this is room for some 300 000 extents. */
const largestPaxHeader = 32 * 1024 * 1024;
const largestPiece = 1024 * 1024;

/**
 * Reads the next member's headers. The data of the member before it must have been read or skipped.
 * @param optional names of members that may be skipped
 * @returns undefined at the end of the archive, which is read to the end of the stream
 * @throws BundleError for a member that a bundle must not contain, and for headers that are not valid
 */
export async function nextMember(
  input: ByteReader,
  optional: readonly string[] = [],
): Promise<TarMember | undefined> {
  let pax = noPax;
  let paxPath = '';
  const start = input.position;
  for (;;) {
    const at = input.position;
    const block = await input.take(blockSize);
    const header = decodeHeader(block, at);
    if (!header) {
      if (pax !== noPax) throw new BundleError('no member follows a PAX header');
      await readEnd(input);
      return undefined;
    }
    switch (header.type) {
      case 'ExtendedHeader':
        if (pax !== noPax) throw new BundleError('a member has two PAX headers');
        pax = await readPax(input, header.size ?? NaN);
        paxPath = header.path ?? '';
        break;
      case 'Directory':
      case 'File':
      case 'OldFile':
      case 'ContiguousFile':
      case 'SparseFile':
        return readMember(input, header, block, { pax, paxPath, optional, start });
      default: {
        const path = quoted(header.path ?? '');
        throw new BundleError(
          `it holds ${path} of type ${header.type}, which a bundle must not hold`,
        );
      }
    }
  }
}

/** Yields the data of a member at their offsets, and skips the padding after them. */
export async function* memberPieces(
  input: ByteReader,
  { map, padding }: TarMember,
): AsyncGenerator<Piece> {
  for (const extent of map) {
    for (let done = 0; done < extent.length;) {
      const data = await input.some(Math.min(largestPiece, extent.length - done));
      yield { offset: extent.offset + done, data };
      done += data.length;
    }
  }
  await input.skip(padding);
}

/** @throws BundleError when the member is sparse */
export function requireDense(name: MemberName, map: ExtentMap): void {
  if (map.dataBytes !== map.size) throw new BundleError(`${memberLabel(name)} is a sparse file`);
}

/** All bytes of a small member that is not sparse. @throws BundleError when it is sparse or has more than `limit` bytes */
export async function memberBytes(
  input: ByteReader,
  member: TarMember,
  limit: number,
): Promise<Buffer> {
  const { name, map, padding } = member;
  requireDense(name, map);
  if (map.size > limit) throw new BundleError(`${memberLabel(name)} has more than ${limit} bytes`);
  const bytes = await input.take(map.size);
  await input.skip(padding);
  return bytes;
}

/** Undefined for a block of zeros. */
function decodeHeader(block: Buffer, at: number): Header | undefined {
  let header: Header;
  try {
    header = new Header(block);
  } catch (cause) {
    // A size above 2^53, or a number that is not valid.
    throw new BundleError(`no valid tar header at byte ${at}: ${errorMessage(cause)}`, { cause });
  }
  if (header.nullBlock) return undefined;
  if (header.cksumValid) return header;
  throw new BundleError(`no valid tar header at byte ${at} of the tar stream: wrong checksum`);
}

async function readPax(input: ByteReader, size: number): Promise<PaxHeader> {
  if (!(size > 0 && size <= largestPaxHeader)) {
    throw new BundleError(`a PAX header of ${size} bytes cannot be right`);
  }
  const body = await input.take(size);
  await input.skip(tarPadding(size));
  return parsePaxHeader(body);
}

async function readMember(
  input: ByteReader,
  header: Header,
  block: Buffer,
  {
    pax,
    paxPath,
    optional,
    start,
  }: {
    readonly pax: PaxHeader;
    readonly paxPath: string;
    readonly optional: readonly string[];
    readonly start: number;
  },
): Promise<TarMember> {
  const path = pax.values.get('GNU.sparse.name') ?? pax.values.get('path') ?? header.path ?? '';
  const name = memberName(path, optional);
  if ((name.kind === 'folder') !== (header.type === 'Directory')) {
    throw new BundleError(`${quoted(path)} is of type ${header.type}`);
  }
  const size = pax.values.get('size');
  const stored = size === undefined ? header.size : paxNumber(size, 'size');
  if (stored === undefined) throw new BundleError(`${quoted(path)} has no valid size`);
  const map = await readSparse(
    input,
    header.type === 'SparseFile' ? block : undefined,
    pax,
    stored,
  );
  const base = path.replace(/^\.\//, '');
  const isOwn =
    name.kind === 'folder'
      ? header.mtime !== undefined && folderHeader(header.mtime).equals(block)
      : header.path === `./GNUSparseFile.0/${base}` && paxPath === `./PaxHeaders/${base}`;
  const headSize = input.position - start;
  return { name, path, isOwn, headSize, map, padding: tarPadding(stored) };
}

/** Reads the second block of zeros, the index of an uncompressed bundle if there is one, and the padding of the archive. */
async function readEnd(input: ByteReader): Promise<void> {
  const second = await input.take(blockSize);
  if (!isZero(second)) throw new BundleError('a block of zeros is between members');
  const index = await upTo(input, blockSize);
  if (!isZero(index) && !isTrailerBlock(index)) {
    if (beginsLikeTrailer(index, 'none')) {
      throw new LostEndError('the index after the end of the archive is cut off or damaged');
    }
    throw somethingFollows(input.position - index.length);
  }
  for (let zeros = 0; zeros < mostZeros;) {
    const chunk = await input.next(largestPiece);
    if (!chunk) return;
    if (!isZero(chunk)) throw somethingFollows(input.position - chunk.length);
    zeros += chunk.length;
  }
}

/** The next `length` bytes, or as many as are left. */
async function upTo(input: ByteReader, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let missing = length; missing > 0;) {
    const part = await input.next(missing);
    if (!part) break;
    parts.push(part);
    missing -= part.length;
  }
  return Buffer.concat(parts);
}

function somethingFollows(at: number): BundleError {
  return new BundleError(
    `something follows the end of the archive, at byte ${at} of the tar stream`,
  );
}
