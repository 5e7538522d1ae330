// LVM: lists the volumes of a volume group, activates them, makes and removes snapshots. Manuals: lvs(8),
// lvchange(8), lvcreate(8), lvremove(8), lvmreport(7). Only these four programs are run, with `sudo -n` unless
// we are root: OpenNebula's sudoers allow oneadmin to run them, but not vgs (share/sudoers).
import { CommandError } from '../report/errors.ts';
import { failedInARow, inARow } from '../run/command-list.ts';
import { lastWords } from '../run/local-runner.ts';
import { quoteCommand } from '../run/quote.ts';
import type { Command, Output, Runner } from '../run/runner.ts';
import { saidBy } from '../run/said-by.ts';
import { lvsFields, parseLvs, type VolumeGroup } from './lvs-report.ts';

export type { Volume, VolumeGroup } from './lvs-report.ts';

/** LVM on one machine. */
export interface Lvm {
  readonly runner: Runner;
  /** A runner for this machine, which may be OpenNebula's front-end. */
  readonly here: Runner;
  /** Whether its programs must be run with sudo. */
  readonly sudo: boolean;
}

/** A volume by its names. */
export interface VolumeName {
  readonly group: string;
  readonly name: string;
}

/** LVM on the runner's machine; asks whether we are root there. @param here for this machine */
export async function lvmOn(runner: Runner, here: Runner): Promise<Lvm> {
  const { stdout } = await runner.run({ program: 'id', args: ['-u'] }, { doing: 'ask who I am' });
  return { runner, here, sudo: stdout.toString().trim() !== '0' };
}

/** The device of a volume that is active. */
export function devicePath({ group, name }: VolumeName): string {
  return `/dev/${group}/${name}`;
}

/** Returns a volume group with its volumes. @throws CommandError when there is none of that name. */
export async function readVolumeGroup(lvm: Lvm, group: string): Promise<VolumeGroup> {
  const doing = `look at the volume group ${group}`;
  const { stdout } = await run(
    lvm,
    'lvs',
    [...['--reportformat', 'json', '--units', 'b', '--nosuffix'], ...['-o', lvsFields, group]],
    doing,
  );
  return parseLvs(stdout.toString(), group);
}

/** Activates a volume, even one marked to be skipped, as OpenNebula's thin volumes are. */
export async function activate(lvm: Lvm, volume: VolumeName): Promise<void> {
  const args = ['--quiet', '-ay', '-K', pathOf(volume)];
  await run(lvm, 'lvchange', args, `activate the volume ${pathOf(volume)}`);
}

/** Deactivates a volume. @throws CommandError, in particular when it is open. */
export async function deactivate(lvm: Lvm, volume: VolumeName): Promise<void> {
  const args = ['--quiet', '-an', pathOf(volume)];
  await run(lvm, 'lvchange', args, `deactivate the volume ${pathOf(volume)}`);
}

/** Bytes per chunk of a thick snapshot, which keeps what the guest overwrites in whole chunks. */
export const snapshotChunk = 4096;

/** A snapshot to make. */
export interface NewSnapshot {
  readonly origin: VolumeName;
  readonly name: string;
  /** The room of a thick snapshot; undefined for a thin one. */
  readonly extents: number | undefined;
  /** Names the disk in messages. */
  readonly label: string;
}

/**
 * Makes read-only snapshots with one command, one after another, since LVM changes a volume group one command at a time.
 * Thick snapshots are active immediately; thin ones are not, which saves time while the guest is frozen. To save more,
 * LVM writes no backup of its metadata; it does when the snapshots are removed.
 * @throws CommandError with LVM's words and the disk's name when one cannot be made; those before it then exist
 */
export async function createLvmSnapshots(
  lvm: Lvm,
  snapshots: readonly NewSnapshot[],
): Promise<void> {
  const { runner } = lvm;
  const commands = snapshots.map(({ origin, name, extents }) => {
    const kind =
      extents === undefined
        ? ['--setactivationskip', 'y']
        : ['--extents', String(extents), '--chunksize', `${snapshotChunk}b`];
    return command(lvm, 'lvcreate', [
      ...['--quiet', '--autobackup', 'n', '--snapshot', '--permission', 'r'],
      ...kind,
      ...['--name', name, pathOf(origin)],
    ]);
  });
  const labels = snapshots.map(({ label }) => label).join(', ');
  const output = await runner.run(inARow(commands), { doing: `make the snapshots of ${labels}` });
  const failed = failedInARow(output);
  if (!failed) return;
  const { status } = failed;
  const { origin, name, label } = snapshots[failed.at] ?? {};
  const [{ program, args } = { program: 'lvcreate', args: [] }] = commands.slice(failed.at);
  const why = saidBy('lvcreate', lastWords(output.stderr) || `exit status ${status}`);
  throw new CommandError(
    `cannot make the snapshot ${name ?? '?'} of ${label ?? '?'} (${origin ? pathOf(origin) : '?'}) on ${runner.where}: ${why}`,
    { command: quoteCommand(program, args), status, stderr: output.stderr },
  );
}

/** Removes a volume, whether it is active or not. */
export async function removeVolume(lvm: Lvm, volume: VolumeName): Promise<void> {
  const args = ['--quiet', '--force', pathOf(volume)];
  await run(lvm, 'lvremove', args, `remove the volume ${pathOf(volume)}`);
}

function pathOf({ group, name }: VolumeName): string {
  return `${group}/${name}`;
}

function command({ sudo }: Lvm, program: string, args: readonly string[]): Command {
  return sudo ? { program: 'sudo', args: ['-n', program, ...args] } : { program, args };
}

function run(lvm: Lvm, program: string, args: readonly string[], doing: string): Promise<Output> {
  return lvm.runner.run(command(lvm, program, args), { doing });
}
