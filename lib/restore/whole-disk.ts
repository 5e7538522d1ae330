// Checks that a disk in a bundle without a manifest is complete. The older onevmdump copied truncated files without an error,
// and its bundles have no checksums. A bundle with a manifest needs no such check, because the export has made it.
import type { BundleDisk } from '../bundle/read/bundle.ts';
import { standAloneHeader } from '../bundle/read/qcow2-disk.ts';
import { requireWhole } from '../qcow2/image-extent.ts';
import { neededEndOfStream } from '../qcow2/stream-extent.ts';
import { BundleError, FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';
import type { Disk } from '../vm/vm.ts';

const mib = 2 ** 20;

/**
 * Requires that a disk is as large as its VM's XML says. OpenNebula rounds SIZE up to whole MiB.
 * @param format as the bundle or vm.xml declares it
 * @throws BundleError
 */
export async function requireDeclaredSize(
  { id, sizeMb }: Disk,
  source: BundleDisk,
  format: 'raw' | 'qcow2',
): Promise<void> {
  if (!mayBeCut(source) || sizeMb === undefined) return;
  const size =
    format === 'raw' ? source.size : (await standAloneHeader(source, 'read')).virtualSize;
  if (size > (sizeMb - 1) * mib) return;
  throw new BundleError(
    `disk ${id} was cut short before it was put into the bundle: it has ${size} bytes, and vm.xml says ${sizeMb} MiB; tar extracts it as it is`,
  );
}

/** Requires that a qcow2 disk contains everything that its tables name. Reads the bundle twice. @throws BundleError */
export async function requireWholeInBundle(disk: BundleDisk): Promise<void> {
  if (!mayBeCut(disk)) return;
  const header = await standAloneHeader(disk, 'read');
  const end = await neededEndOfStream(header, disk.size, () => disk.pieces());
  if (end > disk.size) throw cutShort(disk);
}

/** The same for a qcow2 disk that has been written to `path` on the machine of `runner`. @throws BundleError */
export async function requireWholeFile(
  disk: BundleDisk,
  path: string,
  runner: Runner,
): Promise<void> {
  if (!mayBeCut(disk)) return;
  const header = await standAloneHeader(disk, 'read');
  try {
    await requireWhole(header, path, `disk ${disk.id}`, runner);
  } catch (error) {
    if (error instanceof FailedError) throw cutShort(disk);
    throw error;
  }
}

/** The format comes from the manifest, or from the header of a raw disk that this tool wrote. */
function mayBeCut({ format }: BundleDisk): boolean {
  return format === undefined;
}

function cutShort({ id, size }: BundleDisk): BundleError {
  return new BundleError(
    `disk ${id} was cut short before it was put into the bundle: its qcow2 tables name data beyond its ${size} bytes; tar extracts it as it is`,
  );
}
