// LVM: lists the volumes of a volume group, activates them, makes and removes snapshots. Manuals: lvs(8),
// lvchange(8), lvcreate(8), lvremove(8), lvmreport(7). Only these four programs are run, by `sudo -n` where
// we are not root: they are what OpenNebula's sudoers give oneadmin (share/sudoers; vgs is not among them).
import { parseLvs, type VolumeGroup } from './lvs-report.ts';
import type { Command, Output, Runner } from '../run/runner.ts';

export type { Volume, VolumeGroup } from './lvs-report.ts';

/** LVM on one machine. */
export interface Lvm {
  readonly runner: Runner;
  /** Whether its programs have to be run by sudo. */
  readonly sudo: boolean;
}

/** A volume by its names. */
export interface VolumeName {
  readonly group: string;
  readonly name: string;
}

/** LVM on the runner's machine. Asks who we are there. */
export async function lvmOn(runner: Runner): Promise<Lvm> {
  const { stdout } = await runner.run({ program: 'id', args: ['-u'] }, { doing: 'ask who I am' });
  return { runner, sudo: stdout.toString().trim() !== '0' };
}

/** The device of a volume that is active. */
export function devicePath({ group, name }: VolumeName): string {
  return `/dev/${group}/${name}`;
}

/** A volume group with its volumes. @throws CommandError when there is none of that name. */
export async function readVolumeGroup(lvm: Lvm, group: string): Promise<VolumeGroup> {
  const doing = `look at the volume group ${group}`;
  const fields = 'lv_name,lv_size,lv_active,lv_device_open,lv_layout,lv_role,origin,pool_lv';
  const state = 'data_percent,metadata_percent,lv_snapshot_invalid,lv_health_status';
  const { stdout } = await run(
    lvm,
    'lvs',
    [
      ...['--reportformat', 'json', '--units', 'b', '--nosuffix'],
      ...['-o', `${fields},${state},vg_extent_size,vg_free`, group],
    ],
    doing,
  );
  return parseLvs(stdout.toString(), group);
}

/** Activates a volume, also one that is marked to be skipped, as OpenNebula's thin ones are. */
export async function activate(lvm: Lvm, volume: VolumeName): Promise<void> {
  const args = ['--quiet', '-ay', '-K', pathOf(volume)];
  await run(lvm, 'lvchange', args, `activate the volume ${pathOf(volume)}`);
}

/** Deactivates a volume. @throws CommandError also when it is open. */
export async function deactivate(lvm: Lvm, volume: VolumeName): Promise<void> {
  const args = ['--quiet', '-an', pathOf(volume)];
  await run(lvm, 'lvchange', args, `deactivate the volume ${pathOf(volume)}`);
}

/** Bytes of a chunk of a thick snapshot: what the guest overwrites is kept in whole chunks. */
export const snapshotChunk = 4096;

/**
 * Makes a read-only snapshot. A thick one, of `extents` extents, is active at once; a thin one, without,
 * is not, which saves time while the guest is held. LVM writes no backup of its metadata here either;
 * the removal does.
 */
export async function createSnapshot(
  lvm: Lvm,
  origin: VolumeName,
  name: string,
  extents: number | undefined,
): Promise<void> {
  const kind =
    extents === undefined
      ? ['--setactivationskip', 'y']
      : ['--extents', String(extents), '--chunksize', `${snapshotChunk}b`];
  await run(
    lvm,
    'lvcreate',
    [
      ...['--quiet', '--autobackup', 'n', '--snapshot', '--permission', 'r'],
      ...kind,
      ...['--name', name, pathOf(origin)],
    ],
    `make the snapshot ${name} of the volume ${pathOf(origin)}`,
  );
}

/** Removes a volume, active or not. */
export async function removeVolume(lvm: Lvm, volume: VolumeName): Promise<void> {
  const args = ['--quiet', '--force', pathOf(volume)];
  await run(lvm, 'lvremove', args, `remove the volume ${pathOf(volume)}`);
}

function pathOf({ group, name }: VolumeName): string {
  return `${group}/${name}`;
}

function run(
  { runner, sudo }: Lvm,
  program: string,
  args: readonly string[],
  doing: string,
): Promise<Output> {
  const command: Command = sudo
    ? { program: 'sudo', args: ['-n', program, ...args] }
    : { program, args };
  return runner.run(command, { doing });
}
