// Reads the pieces of one disk from the tar stream, and checks them against the manifest.
import { createHash } from 'node:crypto';
import { BundleError } from '../../report/errors.ts';
import type { Piece } from './bundle.ts';
import type { ByteReader } from './byte-reader.ts';
import type { Manifest, ManifestDisk } from '../format/manifest.ts';
import { memberPieces, type TarMember } from './tar-member.ts';

/** What the manifest says about a disk. */
export interface ExpectedDisk {
  readonly id: number;
  /** Bytes of the file. */
  readonly size: number;
  /** Bytes of its pieces. */
  readonly dataBytes: number;
  /** Hex; undefined in bundles without a manifest. */
  readonly sha256: string | undefined;
}

/** What the manifest says about the disk's file. A qcow2 disk is stored as a whole file, with its own holes. */
export function expectedDisk(manifest: Manifest, disk: ManifestDisk): ExpectedDisk {
  const size = manifest.members.find(({ name }) => name === disk.member)?.size ?? NaN;
  const dataBytes = disk.format === 'raw' ? disk.dataBytes : size;
  return { id: disk.id, size, dataBytes, sha256: disk.sha256 };
}

/** Checks the headers of a member. @throws BundleError when they do not describe this disk */
export function checkMember({ name, path, map }: TarMember, expected: ExpectedDisk): void {
  if (name.kind !== 'disk' || name.id !== expected.id) {
    throw new BundleError(`the archive has ${path} in its place`);
  }
  if (map.size !== expected.size || map.dataBytes !== expected.dataBytes) {
    throw new BundleError(
      `the archive has ${map.size} bytes with ${map.dataBytes} of data, the manifest ` +
        `${expected.size} with ${expected.dataBytes}`,
    );
  }
}

/** The pieces of a member. @throws BundleError at the end when the checksum is not that of the manifest */
export async function* checkedPieces(
  input: ByteReader,
  member: TarMember,
  { sha256 }: ExpectedDisk,
): AsyncGenerator<Piece> {
  if (sha256 === undefined) {
    yield* memberPieces(input, member);
    return;
  }
  const hash = createHash('sha256');
  for await (const piece of memberPieces(input, member)) {
    hash.update(piece.data);
    yield piece;
  }
  if (hash.digest('hex') !== sha256) throw new BundleError('SHA-256 is not that of the manifest');
}

const headSize = 64 * 1024;

/** A buffer of zeros for the first bytes of a disk. */
export function emptyHead(size: number): Buffer {
  return Buffer.alloc(Math.min(size, headSize));
}

/** Copies the part of a piece that is in `head`. @returns false when this piece and all later ones are after it */
export function fillHead(head: Buffer, { offset, data }: Piece): boolean {
  if (offset >= head.length) return false;
  head.set(data.subarray(0, head.length - offset), offset);
  return true;
}
