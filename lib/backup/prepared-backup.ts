// The file that `prebackup` writes for `backup` on the front-end: the disks, their point in time, and how they are opened. It
// is in the state folder until `postbackup` carries out the journal, which also removes it.
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { findRemains } from '../session/cleanup.ts';
import { parseVm } from '../vm/vm-xml.ts';
import { errorMessage, FailedError, hasCode } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Run } from '../run/run.ts';
import { removeFile } from '../run/undo-kinds.ts';
import { giveToOwner, makeStateFolder } from '../run/state-folder.ts';
import { vmSnapshot } from '../storage/point-in-time.ts';
import { planDumps } from '../storage/registry.ts';
import type { MachineState } from '../storage/machine-state.ts';
import type { PointInTime, VmSnapshot } from '../storage/storage.ts';
import type { Vm } from '../vm/vm.ts';
import { encodePrepared, parsePrepared } from './prepared-file.ts';

const folderName = 'prepared';

export interface PreparedBackup {
  readonly vm: Vm;
  /** What oned knew about the disks' images, by DISK_ID. */
  readonly images: ReadonlyMap<number, ImageFacts>;
  readonly pointInTime: PointInTime;
  readonly state: MachineState;
}

/** Writes the file, and records its removal in the run's journal. */
export async function keepPrepared(
  { vm, images, pointInTime, state }: PreparedBackup,
  stateFolder: string,
  { journal }: Run,
): Promise<void> {
  const { consistency, snapshots } = pointInTime;
  const disks = snapshots.map(({ plan, layout, virtualSize, byJob, source }) => ({
    ...{ id: plan.disk.id, layout, virtualSize, source },
    ...(byJob ? { byJob } : {}),
  }));
  const xml = vm.xmlBytes.toString('base64');
  const content = encodePrepared({ vm: xml, images: [...images], consistency, disks }, state);
  const path = join(await makeStateFolder(stateFolder, folderName), `${journal.runId}.json`);
  await journal.record(removeFile.undo({ path }));
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await giveToOwner(path, stateFolder);
}

/**
 * Finds what our `prebackup` has prepared for the backup that runs now.
 * @param vm the VM that `backup` got, whose XML is the same that `prebackup` got; undefined with OpenNebula 6.6, which passes
 *   no VM
 * @returns undefined when nothing was prepared for this backup
 * @throws FailedError when it cannot be read
 */
export async function findPrepared(
  stateFolder: string,
  vmId: number,
  vm: Vm | undefined,
  log: Log,
): Promise<PreparedBackup | undefined> {
  // The last one is this backup's, because prebackup releases earlier ones first.
  const held = (await findRemains(stateFolder, vmId, log)).held.at(-1);
  if (!held) return undefined;
  const prepared = await readPrepared(
    join(stateFolder, folderName, `${held.header.runId}.json`),
    log,
  );
  if (!prepared) return undefined;
  if (!vm || sameXml(prepared.vm, vm)) return prepared;
  log.warn(`what was prepared at ${held.header.started} belongs to another backup of VM ${vmId}`);
  return undefined;
}

/** The disks at that point in time, ready to be read. */
export function preparedDisks({ vm, images, pointInTime }: PreparedBackup, run: Run): VmSnapshot {
  const ids = pointInTime.snapshots.map(({ plan }) => plan.disk.id);
  return vmSnapshot(planDumps(vm, images, ids), pointInTime, run);
}

async function readPrepared(path: string, log: Log): Promise<PreparedBackup | undefined> {
  try {
    const file = parsePrepared(await readFile(path, 'utf8'), log);
    const vm = parseVm(Buffer.from(file.vm, 'base64'));
    const images = new Map(file.images);
    const ids = file.disks.map(({ id }) => id);
    const plans = new Map(planDumps(vm, images, ids).map(({ plan }) => [plan.disk.id, plan]));
    const snapshots = file.disks.flatMap(({ id, ...kept }) => {
      const plan = plans.get(id);
      return plan ? [{ plan, ...kept }] : [];
    });
    const pointInTime = { snapshots, consistency: file.consistency };
    return { vm, images, pointInTime, state: file.state };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw new FailedError(`cannot read what was prepared (${path}): ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

function sameXml(first: Vm, second: Vm): boolean {
  return first.xmlBytes.toString().trim() === second.xmlBytes.toString().trim();
}
