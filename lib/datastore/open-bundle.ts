// A bundle of a backup datastore, opened for reading, and what OpenNebula asks of its disks.
import type { BundleDisk } from '../bundle/bundle.ts';
import { openFileSource } from '../bundle/file-source.ts';
import type { OpenedBundle } from '../bundle/opened.ts';
import { standAloneHeader } from '../bundle/qcow2-disk.ts';
import { openBundle } from '../bundle/reader.ts';
import { openSshSource } from '../bundle/ssh-source.ts';
import { declaredFormat } from '../storage/disk-format.ts';
import type { DiskFormat } from '../bundle/manifest.ts';
import { BundleError, UsageError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Runner } from '../run/runner.ts';
import { bundleVm } from '../restore/restorable.ts';
import { loginName } from '../run/ssh-errors.ts';
import { bundlePath, type BackupDatastore } from './backup-datastore.ts';

/**
 * @param runner runs commands on the machine where the datastore's bundles lie
 * @throws UsageError when there is no such bundle, BundleError when it is damaged, CommandError, ConnectionError
 */
export async function openBackup(
  datastore: BackupDatastore,
  name: string,
  runner: Runner,
  options: { readonly log: Log; readonly signal: AbortSignal },
): Promise<OpenedBundle> {
  const path = bundlePath(datastore, name);
  const source = datastore.host
    ? await openSshSource(runner, path, `${loginName(datastore.host)}:${path}`)
    : await openFileSource(path);
  return openBundle(source, options);
}

/** @throws UsageError when the bundle does not hold this disk */
export function diskOf(bundle: OpenedBundle, id: number): BundleDisk {
  const disk = bundle.disks.find((one) => one.id === id);
  if (disk) return disk;
  const there = bundle.disks.map((one) => one.id).join(', ') || 'none';
  throw new UsageError(`${bundle.name} has no disk ${id} (disks: ${there})`);
}

/** The format of a disk, declared in the manifest or, without one, in the VM's XML. */
export function formatOf(bundle: OpenedBundle, disk: BundleDisk): DiskFormat {
  if (disk.format) return disk.format;
  const inVm = bundleVm(bundle).disks.find(({ id }) => id === disk.id);
  if (!inVm) throw new BundleError(`${bundle.name} holds disk ${disk.id}, but its vm.xml does not`);
  return declaredFormat(inVm);
}

/** Bytes, as a guest sees the disk. @throws BundleError for a qcow2 disk that must not be opened */
export async function virtualSize(bundle: OpenedBundle, disk: BundleDisk): Promise<number> {
  if (formatOf(bundle, disk) === 'raw') return disk.size;
  return (await standAloneHeader(disk, 'restored')).virtualSize;
}

/** As OpenNebula counts sizes: MiB, rounded up. */
export function inMb(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
