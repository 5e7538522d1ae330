// The pieces of one disk out of the tar stream, checked against what the manifest says of the disk.
import { createHash } from 'node:crypto';
import { BundleError } from '../../report/errors.ts';
import type { Piece } from './bundle.ts';
import type { ByteReader } from './byte-reader.ts';
import type { Manifest, ManifestDisk } from '../format/manifest.ts';
import { memberPieces, type TarMember } from './tar-member.ts';

/** What a disk must be. */
export interface ExpectedDisk {
  readonly id: number;
  /** Bytes of the file. */
  readonly size: number;
  /** Bytes of its pieces. */
  readonly dataBytes: number;
  /** Hex; undefined in bundles without a manifest. */
  readonly sha256: string | undefined;
}

/** What the manifest says of the disk's file. A qcow2 disk is stored whole, its own holes included. */
export function expectedDisk(manifest: Manifest, disk: ManifestDisk): ExpectedDisk {
  const size = manifest.members.find(({ name }) => name === disk.member)?.size ?? NaN;
  const dataBytes = disk.format === 'raw' ? disk.dataBytes : size;
  return { id: disk.id, size, dataBytes, sha256: disk.sha256 };
}

/** @throws BundleError when the headers in the archive do not describe this disk */
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

/** Its pieces. @throws BundleError at the end when the checksum is not that of the manifest */
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

/** Room for the first bytes of a disk, all zeros. */
export function emptyHead(size: number): Buffer {
  return Buffer.alloc(Math.min(size, headSize));
}

/** Copies what belongs there. @returns false when neither this piece nor a later one does */
export function fillHead(head: Buffer, { offset, data }: Piece): boolean {
  if (offset >= head.length) return false;
  head.set(data.subarray(0, head.length - offset), offset);
  return true;
}
