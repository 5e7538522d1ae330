// Reads the pieces of one disk from the tar stream, and checks them against the manifest.
import { BundleError } from '../../report/errors.ts';
import type { Piece } from './bundle.ts';
import type { ByteReader } from './byte-reader.ts';
import type { AboutDisk, Manifest, ManifestDisk } from '../format/manifest.ts';
import { ContentCheck } from './content-check.ts';
import { memberNamed } from './member-places.ts';
import { memberPieces, type TarMember } from './tar-member.ts';

/** What a bundle says about a disk. */
export interface ExpectedDisk {
  readonly id: number;
  /** Bytes of the file. */
  readonly size: number;
  /** Bytes of its pieces. */
  readonly dataBytes: number;
  /** How its content is read; undefined in a bundle that does not say it. */
  readonly content?: Pick<AboutDisk, 'format' | 'virtualSize' | 'clusterSize'> | undefined;
  /** Hex; undefined in bundles without a manifest. */
  readonly checksum?: string | undefined;
}

/** What the manifest says about the disk's file. A qcow2 disk is stored as a whole file, with its own holes. */
export function expectedDisk(manifest: Manifest, disk: ManifestDisk): ExpectedDisk {
  const { size } = memberNamed(manifest, disk.member);
  const dataBytes = disk.format === 'raw' ? disk.dataBytes : size;
  return { id: disk.id, size, dataBytes, content: disk, checksum: disk.checksum };
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

/**
 * The pieces of a member, whose content is checked if the bundle says how it is read.
 * @param start bytes of the tar stream from the start of the member to its data
 * @param found gets the check, at the end of the content
 * @throws BundleError at the end when the checksum is not that of the manifest
 */
export async function* checkedPieces(
  input: ByteReader,
  member: TarMember,
  { content, checksum }: ExpectedDisk,
  start: number,
  found?: (check: ContentCheck) => void,
): AsyncGenerator<Piece> {
  if (!content) {
    yield* memberPieces(input, member);
    return;
  }
  const file = { size: member.map.size, extents: member.map, start };
  const check = new ContentCheck(content, file, found !== undefined);
  for await (const piece of memberPieces(input, member)) {
    check.update(piece);
    yield piece;
  }
  if (check.end() !== checksum && checksum !== undefined) {
    throw new BundleError('its checksum is not that of the manifest');
  }
  found?.(check);
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
