// What `prebackup` leaves for `backup`, on the front-end: which point in time of which disks was fixed, and how they are opened.
// The file lies in the state folder as long as the journal that releases it is held.
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { findRemains } from '../session/cleanup.ts';
import { parseVm } from '../vm/vm-xml.ts';
import { errorMessage, FailedError, hasCode } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Run } from '../run/run.ts';
import { removeFile } from '../run/undo-kinds.ts';
import { giveToOwner, makeStateFolder } from '../run/state-folder.ts';
import { vmSnapshot } from '../storage/point-in-time.ts';
import { planDisks } from '../storage/registry.ts';
import type { MachineState } from '../storage/machine-state.ts';
import type { PointInTime, Snapshot, VmSnapshot } from '../storage/storage.ts';
import type { Vm } from '../vm/vm.ts';

const folderName = 'prepared';

/** The file: JSON. Another version of this tool makes, and reads, another `version`. */
interface PreparedFile {
  readonly version: 1;
  /** The VM's XML as prebackup got it, in base64. */
  readonly vm: string;
  readonly images: readonly (readonly [number, ImageFacts])[];
  readonly consistency: PointInTime['consistency'];
  /** What the VM kept beside its disks: compressed by gzip, in base64. */
  readonly state: { readonly nvram?: string; readonly tpm?: string };
  readonly disks: readonly ({ readonly id: number } & Pick<Snapshot, 'layout' | 'source'>)[];
}

export interface PreparedBackup {
  readonly vm: Vm;
  /** What oned knew of the disks' images, by DISK_ID. */
  readonly images: ReadonlyMap<number, ImageFacts>;
  readonly pointInTime: PointInTime;
  readonly state: MachineState;
}

/** Writes it down, with its removal in the run's journal. */
export async function keepPrepared(
  { vm, images, pointInTime, state }: PreparedBackup,
  stateFolder: string,
  { journal }: Run,
): Promise<void> {
  const content: PreparedFile = {
    version: 1,
    vm: vm.xmlBytes.toString('base64'),
    images: [...images],
    consistency: pointInTime.consistency,
    state: {
      ...(state.nvram && { nvram: packed(state.nvram) }),
      ...(state.tpm && { tpm: packed(state.tpm) }),
    },
    disks: pointInTime.snapshots.map(({ plan, layout, source }) => ({
      id: plan.disk.id,
      layout,
      source,
    })),
  };
  const path = join(await makeStateFolder(stateFolder, folderName), `${journal.runId}.json`);
  await journal.record(removeFile.undo({ path }));
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(JSON.stringify(content));
    await file.sync();
  } finally {
    await file.close();
  }
  await giveToOwner(path, stateFolder);
}

/**
 * The point in time that `prebackup` has fixed for the backup of a VM that runs now.
 * @param vm as `backup` got it: the very XML that `prebackup` got; undefined with OpenNebula 6.6, which gives none
 * @returns undefined when there is none
 * @throws FailedError when it cannot be read
 */
export async function findPrepared(
  stateFolder: string,
  vmId: number,
  vm: Vm | undefined,
  log: Log,
): Promise<PreparedBackup | undefined> {
  // The last one counts: prebackup releases those before it first.
  const held = (await findRemains(stateFolder, vmId, log)).held.at(-1);
  if (!held) return undefined;
  const prepared = await readPrepared(join(stateFolder, folderName, `${held.header.runId}.json`));
  if (!prepared) return undefined;
  if (!vm || sameXml(prepared.vm, vm)) return prepared;
  log.warn(`what was fixed at ${held.header.started} belongs to another backup of VM ${vmId}`);
  return undefined;
}

/** The disks at that point in time, ready to be read. */
export function preparedDisks({ vm, images, pointInTime }: PreparedBackup, run: Run): VmSnapshot {
  const ids = pointInTime.snapshots.map(({ plan }) => plan.disk.id);
  return vmSnapshot(planDisks(vm, images, ids), pointInTime, run);
}

async function readPrepared(path: string): Promise<PreparedBackup | undefined> {
  try {
    const file = JSON.parse(await readFile(path, 'utf8')) as PreparedFile;
    if ((file.version as number) !== 1) {
      throw new FailedError('it was written by another version of onevmdump; back up the VM again');
    }
    const vm = parseVm(Buffer.from(file.vm, 'base64'));
    const images = new Map(file.images);
    const ids = file.disks.map(({ id }) => id);
    const plans = new Map(planDisks(vm, images, ids).map(({ plan }) => [plan.disk.id, plan]));
    const snapshots = file.disks.flatMap(({ id, layout, source }) => {
      const plan = plans.get(id);
      return plan ? [{ plan, layout, source }] : [];
    });
    const { nvram, tpm } = file.state;
    const state = {
      ...(nvram !== undefined && { nvram: unpacked(nvram) }),
      ...(tpm !== undefined && { tpm: unpacked(tpm) }),
    };
    return { vm, images, pointInTime: { snapshots, consistency: file.consistency }, state };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw new FailedError(`cannot read what was prepared (${path}): ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** UEFI variables are mostly empty space. */
function packed(bytes: Buffer): string {
  return gzipSync(bytes).toString('base64');
}

function unpacked(text: string): Buffer {
  return gunzipSync(Buffer.from(text, 'base64'));
}

function sameXml(one: Vm, other: Vm): boolean {
  return one.xmlBytes.toString().trim() === other.xmlBytes.toString().trim();
}
