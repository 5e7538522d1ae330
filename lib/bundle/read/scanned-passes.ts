// The later passes over a bundle without an index: reading a disk or a state file starts at the front again.
import { BundleError } from '../../report/errors.ts';
import type { BundleSource, Piece } from './bundle.ts';
import { ByteReader } from './byte-reader.ts';
import { checkedPieces, checkMember, type ExpectedDisk } from './checked-pieces.ts';
import { decompressFile } from './decompress.ts';
import type { Compression } from '../compression/compressions.ts';
import type { MemberName } from '../format/member-name.ts';
import { prefixError } from './opened-bundle.ts';
import { readState } from './state-file.ts';
import { nextMember, type TarMember } from './tar-member.ts';

/** The pieces of a disk, checked against the manifest. @throws BundleError */
export async function* diskPieces(
  source: BundleSource,
  compression: Compression,
  expected: ExpectedDisk,
  signal: AbortSignal | undefined,
): AsyncGenerator<Piece> {
  const input = openStream(source, compression, signal);
  try {
    const isIt = (name: MemberName) => name.kind === 'disk' && name.id === expected.id;
    const member = await findMember(input, isIt);
    if (!member) throw new BundleError('it is not there any more: the file has changed');
    checkMember(member, expected);
    yield* checkedPieces(input, member, expected);
  } catch (error) {
    throw prefixError(`disk ${expected.id}`, error);
  } finally {
    await input.close();
  }
}

/** The content of a state member. @throws BundleError when it is damaged or not there any more */
export async function findState(
  source: BundleSource,
  compression: Compression,
  expected: Parameters<typeof readState>[2],
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const input = openStream(source, compression, signal);
  try {
    const member = await findMember(input, ({ kind }) => `./${kind}` === expected.member);
    return await readState(input, member, expected);
  } finally {
    await input.close();
  }
}

/** Reads a bundle from its front until `isIt` accepts a member. @returns undefined at the end of the archive */
async function findMember(
  input: ByteReader,
  isIt: (name: MemberName) => boolean,
): Promise<TarMember | undefined> {
  for (;;) {
    const member = await nextMember(input);
    if (!member || isIt(member.name)) return member;
    // The content and the zeros that fill its last tar block.
    await input.skip(member.map.dataBytes + member.padding);
  }
}

/** The tar stream from its beginning. */
export function openStream(source: BundleSource, compression: Compression, signal?: AbortSignal) {
  return new ByteReader(decompressFile(source, compression, signal));
}
