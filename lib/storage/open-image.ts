// Opens a disk image for reading. A raw file of this machine is read directly, which takes a tenth of the CPU time. QEMU
// reads everything else: it knows qcow2, and runs where the image is.
import type { DiskReader } from '../read/disk-reader.ts';
import { parseMappedExtents } from '../read/mapped-extents.ts';
import { programOutput } from '../read/program-output.ts';
import { openRawReader } from '../read/raw-reader.ts';
import type { Run } from '../run/run.ts';
import { mapCommand } from '../tools/qemu-img.ts';
import type { BlockNode } from '../tools/qemu-nbd.ts';
import { serveImage } from './image-server.ts';

/** `qemu-img map` prints nothing while it goes through a large hole or much data. */
const mapStallMs = 120_000;

export interface OpenableImage {
  readonly node: BlockNode;
  /** Bytes. */
  readonly virtualSize: number;
}

/**
 * Opens an image to which nobody writes.
 * @param label "disk 0 of VM 7".
 * @throws CommandError with QEMU's own words when it cannot open the image; FailedError when it is not what was found
 *   before.
 */
export async function openImage(
  image: OpenableImage,
  label: string,
  run: Run,
): Promise<DiskReader> {
  const { node, virtualSize } = image;
  const { runner, log, signal } = run;
  if (node.driver !== 'raw' || node.device || runner.target) {
    return await serveImage(image, label, run);
  }
  const findExtents = async () => {
    const { chunks } = programOutput(mapCommand(node), {
      ...{ runner, signal, doing: `find the data of ${label}`, stallMs: mapStallMs },
    });
    return (await parseMappedExtents(chunks, virtualSize, label)).logged(label, log);
  };
  return await openRawReader({ path: node.path, virtualSize, label, findExtents, signal });
}
