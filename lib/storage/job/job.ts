// Fixes the point in time of a running VM's disks by one backup job in pull mode, whatever their storage: QEMU itself
// serves them as of that moment. What is run, and why, is documented in docs/running-guests.md.
import {
  ConnectionError,
  FailedError,
  InterruptedError,
  OnevmdumpError,
  UnsupportedError,
} from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import { removeFile } from '../../run/undo-kinds.ts';
import { writeNewFile } from '../../tools/file-facts.ts';
import { createQcow2Scratch } from '../../tools/qemu-img.ts';
import { beginBackup } from '../../tools/virsh.ts';
import { backupXml } from '../../guest/backup-xml.ts';
import { domainFacts, domainOf, requireBackupJobs, requireIdle } from '../../guest/domain.ts';
import { abortBackupJob } from '../../guest/undo.ts';
import { vmFolder } from '../../vm/names.ts';
import type { Vm } from '../../vm/vm.ts';
import { requireSameDisks } from '../running-disks.ts';
import { diskLabel, type Prepared, type RunningDisk, type Snapshot } from '../storage.ts';
import { jobDescription, jobSocket, scratchFile, spaceWatchName } from './names.ts';
import { findScratchRoom } from './scratch-room.ts';
import { requireMayConnect, requireShort, socketPlace } from './socket-place.ts';
import type { JobSource } from './source.ts';
import { lowWaterMark, watchSpace } from './space-watch.ts';

/** A backup job that could begin when it was planned. */
export interface PlannedJob {
  /** Makes the job's files and records their undo; everything slow is done then. */
  prepare(): Promise<Prepared>;
}

/** Why there can be no backup job now. The disks may be had in another way. */
export interface NoJob {
  readonly refusal: OnevmdumpError;
}

/**
 * Checks everything that a backup job needs, while the guest runs on. Changes nothing.
 * @param disks of one VM, at least one
 * @throws FailedError when libvirt has other disks than OpenNebula: then no way leads to the right ones
 */
export async function planJob(
  disks: readonly RunningDisk[],
  run: Run,
): Promise<PlannedJob | NoJob> {
  const [first] = disks;
  if (!first) throw new Error('a backup job without disks');
  const { vm } = first.plan;
  const domain = domainOf(vm, run);
  const facts = await domainFacts(vm, domain);
  const targets = await requireSameDisks(disks, facts, run);
  const { journal, runner } = run;
  const folder = folderOf(vm, run);
  const description = jobDescription(folder, journal.runId);
  const sizes = disks.map(({ virtualSize }) => virtualSize);
  const mustHoldAll = [...targets.values()].some((one) => !facts.disks.get(one)?.stopsWhenFull);
  const checked = await refusedOr(async () => {
    await requireIdle(vm, domain);
    await requireBackupJobs(vm, domain, facts);
    for (const disk of disks) requireServable(disk);
    const socket = jobSocket(await socketPlace(folder, facts, run), journal.runId);
    requireShort(socket);
    await requireMayConnect(facts, run);
    return { socket, room: await findScratchRoom(vm, { folder, sizes, mustHoldAll }, run) };
  });
  if ('refusal' in checked) return checked;
  const { socket, room } = checked;
  return {
    async prepare() {
      await journal.record(removeFile.undo({ path: socket }), runner.target);
      const scratch = new Map<string, string>();
      for (const [{ plan, virtualSize }, target] of targets) {
        const path = scratchFile(folder, journal.runId, plan.disk.id);
        await journal.record(removeFile.undo({ path }), runner.target);
        await createQcow2Scratch(runner, path, virtualSize, facts.owner);
        scratch.set(target, path);
      }
      await journal.record(removeFile.undo({ path: description }), runner.target);
      await writeNewFile(runner, description, backupXml(socket, scratch));
      const watch = { name: spaceWatchName(journal.runId), lowWaterMark: lowWaterMark(room) };
      await watchSpace({ domain, socket, description, ...watch }, run);
      const { uri, name } = domain;
      await journal.record(abortBackupJob.undo({ uri, domain: name, socket }), runner.target);
      return {
        pointInTime: 'together',
        async snapshot(): Promise<readonly Snapshot<JobSource>[]> {
          await beginBackup(domain, description);
          return [...targets].map(([{ plan, layout, virtualSize }, exportName]) => ({
            plan,
            layout,
            virtualSize,
            byJob: true,
            source: { socket, exportName, virtualSize, description, watch },
          }));
        },
      };
    },
  };
}

function requireServable({ plan, unservable }: RunningDisk): void {
  if (unservable === undefined) return;
  throw new UnsupportedError(`${diskLabel(plan)} cannot be read from QEMU: ${unservable}`);
}

/** Runs the checks whose failure leaves another way. */
async function refusedOr<T extends object>(check: () => Promise<T>): Promise<T | NoJob> {
  try {
    return await check();
  } catch (error) {
    const isAnswer = error instanceof OnevmdumpError && !(error instanceof ConnectionError);
    if (!isAnswer || error instanceof InterruptedError) throw error;
    return { refusal: error };
  }
}

/** The VM's folder on the system datastore. */
function folderOf(vm: Vm, { datastoreLocation }: Run): string {
  if (vm.history) return vmFolder(datastoreLocation, vm.history.datastoreId, vm.id);
  throw new FailedError(`VM ${vm.id} was never deployed: it has no folder`);
}
