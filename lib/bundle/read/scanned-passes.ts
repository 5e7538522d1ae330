// The later passes over a bundle without an index: reading a disk or a state file starts at the front again.
import { BundleError } from '../../report/errors.ts';
import type { BundleSource, Piece } from './bundle.ts';
import { ByteReader } from './byte-reader.ts';
import { checkedPieces, checkMember, type ExpectedDisk } from './checked-pieces.ts';
import { decompressFile } from './decompress.ts';
import type { ContentCheck } from './content-check.ts';
import { LostEndError } from '../lost-end-error.ts';
import type { RegionContent } from '../format/region-table-encode.ts';
import { checkHashes } from './table-check.ts';
import type { Compression } from '../compression/compressions.ts';
import type { MemberName } from '../format/member-name.ts';
import { prefixError } from './opened-bundle.ts';
import { readState } from './state-file.ts';
import { nextMember, type TarMember } from './tar-member.ts';

/** Names of members that may be skipped. */
interface Skipped {
  readonly optional: readonly string[];
}

/** The pieces of a disk, checked against its region table and the manifest, as far as they are there. @throws BundleError */
export async function* diskPieces(
  source: BundleSource,
  compression: Compression,
  expected: ExpectedDisk & Skipped,
  signal: AbortSignal | undefined,
): AsyncGenerator<Piece> {
  const input = openStream(source, compression, signal);
  try {
    const isIt = (name: MemberName) => name.kind === 'disk' && name.id === expected.id;
    const member = await findMember(input, isIt, expected.optional);
    if (!member) throw new BundleError('it is not there any more: the file has changed');
    checkMember(member, expected);
    let check: ContentCheck | undefined;
    yield* checkedPieces(input, member, expected, member.headSize, (all) => (check = all));
    if (check) await checkTableAfter(input, expected, check.content());
  } catch (error) {
    throw prefixError(`disk ${expected.id}`, error);
  } finally {
    await input.close();
  }
}

/**
 * Compares a disk with the hashes in the region table that follows it. A bundle that lost its end may have lost the table, and one that
 * was unpacked and packed again may have it elsewhere.
 */
async function checkTableAfter(
  input: ByteReader,
  { id, checksum, optional }: ExpectedDisk & Skipped,
  content: RegionContent,
): Promise<void> {
  try {
    const next = await nextMember(input, optional);
    if (next?.name.kind === 'regions' && next.name.id === id) {
      await checkHashes(input, next, content);
    }
  } catch (error) {
    if (checksum !== undefined || !(error instanceof LostEndError)) throw error;
  }
}

/** The content of a state member. @throws BundleError when it is damaged or not there any more */
export async function findState(
  source: BundleSource,
  compression: Compression,
  expected: Parameters<typeof readState>[2] & Skipped,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const input = openStream(source, compression, signal);
  try {
    const member = await findMember(
      input,
      ({ kind }) => `./${kind}` === expected.member,
      expected.optional,
    );
    return await readState(input, member, expected);
  } finally {
    await input.close();
  }
}

/** Reads a bundle from its front until `isIt` accepts a member. @returns undefined at the end of the archive */
async function findMember(
  input: ByteReader,
  isIt: (name: MemberName) => boolean,
  optional: readonly string[],
): Promise<TarMember | undefined> {
  for (;;) {
    const member = await nextMember(input, optional);
    if (!member || isIt(member.name)) return member;
    await skipMember(input, member);
  }
}

/** Skips the content of a member, and the zeros that fill its last tar block. */
export async function skipMember(
  input: ByteReader,
  { map, padding }: Pick<TarMember, 'map' | 'padding'>,
): Promise<void> {
  await input.skip(map.dataBytes + padding);
}

/** The tar stream from its beginning. */
export function openStream(source: BundleSource, compression: Compression, signal?: AbortSignal) {
  return new ByteReader(decompressFile(source, compression, signal));
}
