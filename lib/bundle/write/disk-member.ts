// Lays out a disk as a tar member: what comes before its data, what is read from the disk, and what follows. This does
// not depend on the compression or the destination.
import { alignExtents } from '../../read/aligned-extents.ts';
import type { Extents } from '../../read/extents.ts';
import { FailedError } from '../../report/errors.ts';
import type { DiskFormat, DiskLayout } from '../format/manifest.ts';
import { layOutQcow2 } from '../../qcow2/layout.ts';
import { sparseMap, sparseMapSize } from '../format/sparse-map.ts';
import { fileHeader, sparseHeader, tarPadding } from '../format/tar-header.ts';

export interface DiskMember {
  readonly format: DiskFormat;
  /** Bytes of the file once extracted. */
  readonly size: number;
  /** The tar headers, and the map of a sparse member. */
  head(): Iterable<Buffer>;
  /** The beginning of the file, if it is not read from the disk. */
  metadata(): Iterable<Buffer>;
  /** What is read from the disk. */
  readonly extents: Extents;
  /** Bytes of zeros after the data that belong to the file. */
  readonly filePadding: number;
  /** Bytes of zeros after the file, up to the next tar block. */
  readonly tarPadding: number;
}

/**
 * Lays out the member for a disk.
 * @throws FailedError when the extents reach beyond the disk, UnsupportedError when the format cannot hold the disk
 */
export function layOutDisk(
  name: string,
  layout: DiskLayout,
  virtualSize: number,
  extents: Extents,
  mtime: Date,
): DiskMember {
  if (extents.end > virtualSize) {
    throw new FailedError(
      `cannot dump ${name}: its map of data is wrong: it ends at ${extents.end}, but the disk has ${virtualSize} bytes`,
    );
  }
  return layout.format === 'qcow2'
    ? qcow2Member(name, virtualSize, layout.clusterSize, extents, mtime)
    : rawMember(name, virtualSize, extents, mtime);
}

function rawMember(name: string, virtualSize: number, announced: Extents, mtime: Date): DiskMember {
  // GNU tar pads every extent to whole blocks; bsdtar and Python do not. If extents are whole blocks, they all agree.
  const extents = alignExtents(announced, 512, virtualSize);
  const shared = { format: 'raw', extents, metadata: () => [], filePadding: 0 } as const;
  if (virtualSize === 0) {
    return { ...shared, size: 0, head: () => [fileHeader(name, 0, mtime)], tarPadding: 0 };
  }
  const storedSize = sparseMapSize(extents, virtualSize) + extents.dataBytes;
  return {
    ...shared,
    size: virtualSize,
    *head() {
      yield sparseHeader(name, virtualSize, storedSize, mtime);
      yield* sparseMap(extents, virtualSize);
    },
    tarPadding: tarPadding(storedSize),
  };
}

function qcow2Member(
  name: string,
  virtualSize: number,
  clusterSize: number,
  extents: Extents,
  mtime: Date,
): DiskMember {
  const layout = layOutQcow2(virtualSize, clusterSize, extents);
  return {
    format: 'qcow2',
    size: layout.fileSize,
    head: () => [fileHeader(name, layout.fileSize, mtime)],
    metadata: () => layout.metadata(),
    extents: layout.extents,
    filePadding: layout.padding,
    tarPadding: tarPadding(layout.fileSize),
  };
}
