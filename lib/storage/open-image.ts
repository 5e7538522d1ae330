// Opens a disk image for reading. Raw files and devices of this machine are read directly, which takes a quarter of the CPU
// time. QEMU reads everything else: it knows qcow2, and runs where the image is.
import type { DiskReader } from '../read/disk-reader.ts';
import { Extents } from '../read/extents.ts';
import { parseMappedExtents } from '../read/mapped-extents.ts';
import { programOutput } from '../read/program-output.ts';
import { openRawReader } from '../read/raw-reader.ts';
import { FailedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { blockDevice } from '../tools/block-device.ts';
import { mapCommand } from '../tools/qemu-img.ts';
import { serveImage, type OpenableImage } from './image-server.ts';

/** `qemu-img map` prints nothing while it goes through a large hole or much data. */
const mapStallMs = 120_000;

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
  if (node.driver !== 'raw' || runner.target) return await serveImage(image, label, run);
  const { path, device: isDevice = false } = node;
  if (isDevice) {
    const { bytes } = await blockDevice(runner, path, `${path} (${label})`);
    if (bytes !== virtualSize) {
      throw new FailedError(
        `cannot read ${label} (${path}): it has ${bytes} bytes instead of ${virtualSize}; has it been resized meanwhile?`,
      );
    }
  }
  const findExtents = async () => {
    // The kernel does not tell which parts of a device have data.
    if (isDevice) return Extents.whole(virtualSize);
    const { chunks } = programOutput(mapCommand(node), {
      ...{ runner, signal, doing: `find the data of ${label}`, stallMs: mapStallMs },
    });
    return (await parseMappedExtents(chunks, virtualSize, label)).logged(label, log);
  };
  return await openRawReader({ path, isDevice, virtualSize, label, findExtents, signal });
}
