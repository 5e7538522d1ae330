// The disks that OpenNebula's own `prebackup` has staged for a backup datastore: <folder>/disk.<ID>.<increment> on the VM's
// host, stand-alone qcow2 files for every storage, and vm.xml in base64.
// Source: tm_mad/lib/backup.rb, backup_qcow2.rb and ceph.rb of OpenNebula 6.6 to 7.4.
import { posix } from 'node:path';
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { decodeVmInput } from '../xml/stdin.ts';
import { parseVm } from '../vm/vm-xml.ts';
import { childText } from '../xml/xml.ts';
import { FailedError, UsageError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { declaredFormat } from '../storage/disk-format.ts';
import { inspectImage } from '../storage/file/image-chain.ts';
import { openImage } from '../storage/open-image.ts';
import type { OpenableDisk, VmSnapshot } from '../storage/storage.ts';
import { fileHead } from '../tools/file-facts.ts';
import { maxStdinBytes } from '../xml/stdin.ts';
import { activityOf } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';

/** A full backup is the first of its chain. */
const increment = 0;

/**
 * The folder in which `prebackup` stages.
 * @param base BACKUP_BASE_PATH of datastore.conf; undefined when it is not set
 */
export function stagingFolder(vmFolder: string, vmId: number, base: string | undefined): string {
  return posix.join(base === undefined ? vmFolder : posix.join(base, String(vmId)), 'backup');
}

/** The VM as it was when its backup began. @throws CommandError when `prebackup` left no XML, UsageError when it is not valid */
export async function stagedVm(folder: string, vmId: number, run: Run): Promise<Vm> {
  const path = posix.join(folder, 'vm.xml');
  const bytes = await fileHead(run.runner, path, maxStdinBytes, `the XML of VM ${vmId} (${path})`);
  const vm = parseVm(decodeVmInput(bytes));
  if (vm.id !== vmId) throw new UsageError(`${path} is of VM ${vm.id}, not of VM ${vmId}`);
  return vm;
}

/**
 * The staged disks, ready to be read.
 * @param images what oned knows about the disks' images, by DISK_ID
 * @throws FailedError, CommandError or UnsupportedError for a disk that is missing or cannot be opened
 */
export async function stagedDisks(
  { folder, vm, diskIds }: { folder: string; vm: Vm; diskIds: readonly number[] },
  images: ReadonlyMap<number, Pick<ImageFacts, 'format'>>,
  run: Run,
): Promise<VmSnapshot> {
  const disks: OpenableDisk[] = [];
  for (const id of [...diskIds].sort((first, second) => first - second)) {
    const disk = vm.disks.find((candidate) => candidate.id === id);
    if (!disk) throw new FailedError(`VM ${vm.id} has no disk ${id}`);
    const label = `disk ${id} of VM ${vm.id}`;
    const path = posix.join(folder, `disk.${id}.${increment}`);
    const unknown = { sizeMb: undefined, source: undefined };
    const request = { path, format: 'qcow2', label, folders: [folder], ...unknown } as const;
    const { node, virtualSize, clusterSize } = await inspectImage(request, run.runner);
    if (node.driver !== 'qcow2' || node.backing || clusterSize === undefined) {
      throw new FailedError(`${label}: ${path} is not a stand-alone disk`);
    }
    const format = declaredFormat(disk, images.get(id)?.format);
    disks.push({
      id,
      layout: format === 'raw' ? { format } : { format, clusterSize },
      virtualSize,
      open: () => openImage({ node, virtualSize }, label, run),
    });
  }
  const consistency = {
    level: level(vm),
    at: await stagingTime(folder, run),
    frozenMs: 0,
  } as const;
  // The staged files are copies that no guest writes to.
  return { disks, consistency, requireUnwritten: () => Promise.resolve() };
}

/** `prebackup_live` fails when it cannot freeze or pause the guest as FS_FREEZE says, so FS_FREEZE tells the level. */
function level(vm: Vm): VmSnapshot['consistency']['level'] {
  if (activityOf(vm.state, vm.lcmState) === 'offline') return 'offline';
  switch (vm.backupConfig && childText(vm.backupConfig, 'FS_FREEZE')?.toUpperCase()) {
    case 'AGENT':
      return 'agent';
    case 'SUSPEND':
      return 'suspend';
    default:
      return 'crash';
  }
}

/** When vm.xml was written, which `prebackup` does right before it freezes the guest. */
async function stagingTime(folder: string, run: Run): Promise<string> {
  const path = posix.join(folder, 'vm.xml');
  const { stdout } = await run.runner.run(
    { program: 'stat', args: ['-c', '%Y', '--', path] },
    { doing: `look at ${path}` },
  );
  return new Date(Number(stdout.toString()) * 1000).toISOString();
}
