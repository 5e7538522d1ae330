// Reads the members of a tar archive one after another, from a stream that is not trusted: plain files
// and all four ways in which GNU tar stores sparse ones. npm's tar decodes the header block; its
// Parser is not used, since it drops or mangles sparse members without an error.
import { Header } from 'tar';
import { BundleError, errorMessage } from '../../report/errors.ts';
import type { Piece } from './bundle.ts';
import type { ByteReader } from './byte-reader.ts';
import type { ExtentMap } from './extent-map.ts';
import { LostEndError } from '../lost-end-error.ts';
import { memberName, quoted, type MemberName } from '../format/member-name.ts';
import { noPax, parsePaxHeader, paxNumber, type PaxHeader } from './pax-records.ts';
import { readSparse } from './sparse-formats.ts';
import { folderHeader, tarPadding } from '../format/tar-header.ts';
import { beginsLikeTrailer, isTrailerBlock } from '../format/trailer.ts';
import { isZero } from '../zeros.ts';
import { mostZeros } from './zero-tail.ts';

/** A member whose headers and map have been read; its data follow. */
export interface TarMember {
  readonly name: MemberName;
  /** The name it is extracted by, as in the archive. */
  readonly path: string;
  /** A folder or a raw disk whose headers are as onevmdump writes them; those of GNU tar and bsdtar are different. */
  readonly isOwn: boolean;
  /** Bytes of the file once extracted. */
  readonly map: ExtentMap;
  /** Bytes from the data to the next header. */
  readonly padding: number;
}

const blockSize = 512;
/** Sparse formats 0.0 and 0.1 keep their map in here: room for some 300 000 extents. */
const largestPaxHeader = 32 * 1024 * 1024;
const largestPiece = 1024 * 1024;

/**
 * Reads the next member's headers. The data of the one before must have been read or skipped.
 * @returns undefined at the end of the archive, which is read to the end of the stream
 * @throws BundleError for every kind of member a bundle must not hold, and for what makes no sense
 */
export async function nextMember(input: ByteReader): Promise<TarMember | undefined> {
  let pax = noPax;
  let paxPath = '';
  for (;;) {
    const at = input.position;
    const block = await input.take(blockSize);
    const header = decodeHeader(block, at);
    if (!header) {
      if (pax !== noPax) throw new BundleError('a PAX header stands before no member');
      await readEnd(input);
      return undefined;
    }
    switch (header.type) {
      case 'ExtendedHeader':
        if (pax !== noPax) throw new BundleError('two PAX headers stand before one member');
        pax = await readPax(input, header.size ?? NaN);
        paxPath = header.path ?? '';
        break;
      case 'Directory':
      case 'File':
      case 'OldFile':
      case 'ContiguousFile':
      case 'SparseFile':
        return readMember(input, header, block, { pax, paxPath });
      default: {
        const path = quoted(header.path ?? '');
        throw new BundleError(
          `it holds ${path} of type ${header.type}, which a bundle must not hold`,
        );
      }
    }
  }
}

/** Its data at their places, then reads over the padding. */
export async function* memberPieces(
  input: ByteReader,
  { map, padding }: TarMember,
): AsyncGenerator<Piece> {
  for (const extent of map.extents()) {
    for (let done = 0; done < extent.length;) {
      const data = await input.some(Math.min(largestPiece, extent.length - done));
      yield { offset: extent.offset + done, data };
      done += data.length;
    }
  }
  await input.skip(padding);
}

/** @throws BundleError when the member is sparse or has more than `limit` bytes */
export function requirePlain({ name, map }: TarMember, limit: number): void {
  if (map.dataBytes !== map.size) throw new BundleError(`${name.kind} is a sparse file`);
  if (map.size > limit) throw new BundleError(`${name.kind} has more than ${limit} bytes`);
}

/** The whole of a small plain member. @throws BundleError when it has more than `limit` bytes */
export async function memberBytes(
  input: ByteReader,
  member: TarMember,
  limit: number,
): Promise<Buffer> {
  requirePlain(member, limit);
  const { map, padding } = member;
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
    // A size beyond 2^53, or another number that is none.
    throw new BundleError(`no sound tar header at byte ${at}: ${errorMessage(cause)}`, { cause });
  }
  if (header.nullBlock) return undefined;
  if (header.cksumValid) return header;
  throw new BundleError(`no sound tar header at byte ${at} of the tar stream: wrong checksum`);
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
  { pax, paxPath }: { readonly pax: PaxHeader; readonly paxPath: string },
): Promise<TarMember> {
  const path = pax.values.get('GNU.sparse.name') ?? pax.values.get('path') ?? header.path ?? '';
  const name = memberName(path);
  if ((name.kind === 'folder') !== (header.type === 'Directory')) {
    throw new BundleError(`${quoted(path)} is of type ${header.type}`);
  }
  const size = pax.values.get('size');
  const stored = size === undefined ? header.size : paxNumber(size, 'size');
  if (stored === undefined) throw new BundleError(`${quoted(path)} has no sound size`);
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
  return { name, path, isOwn, map, padding: tarPadding(stored) };
}

/** The second block of zeros, the index of an uncompressed bundle if there is one, and what pads the archive. */
async function readEnd(input: ByteReader): Promise<void> {
  const second = await input.take(blockSize);
  if (!isZero(second)) throw new BundleError('a block of zeros stands between members');
  const index = await upTo(input, blockSize);
  if (!isZero(index) && !isTrailerBlock(index)) {
    if (beginsLikeTrailer(index, 'none')) {
      throw new LostEndError('the index behind the end of the archive is cut off or damaged');
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
