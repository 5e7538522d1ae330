// Reads the file disks of running VMs: QEMU itself serves them, as of one point in time, in a backup job in pull
// mode. What is run, and why, is documented in docs/storage-file.md.
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskReader } from '../../read/disk-reader.ts';
import { explainedReader } from '../../read/reader-with-reasons.ts';
import { openNbdReader } from '../../read/nbd-reader.ts';
import { NotListeningError } from '../../read/nbd-socket.ts';
import { FailedError } from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import type { ForwardedSocket } from '../../run/runner.ts';
import { removeFile } from '../../run/undo-kinds.ts';
import { writeNewFile } from '../../tools/file-facts.ts';
import { createQcow2Scratch } from '../../tools/qemu-img.ts';
import { beginBackup, domainState, type Domain } from '../../tools/virsh.ts';
import { backupOrder, backupSocket, scratchFile } from './names.ts';
import { backupXml } from '../../guest/backup-xml.ts';
import { domainOf, requireIdle } from '../../guest/domain.ts';
import { requireSameDisk } from '../../guest/same-disk.ts';
import { abortBackupJob } from '../../guest/undo.ts';
import { ifLost, requireForwarding } from '../../run/forwarded-socket.ts';
import type { ImageTop } from './image-chain.ts';
import { requireScratchRoom } from './scratch-room.ts';
import type { FileSource, NbdSource } from './source.ts';
import { diskLabel, type DumpPlan, type Prepared, type Snapshot } from '../storage.ts';

const pollMs = 100;
/** sun_path has 108 bytes, the last of them NUL: unix(7). */
const maxSocketPath = 107;

/** A disk to be dumped, and what its file says about itself. */
export interface RunningDisk {
  readonly plan: DumpPlan;
  readonly top: ImageTop;
}

/**
 * Checks everything that a backup job needs, makes its files, and records its undo.
 * @param folder the VM's folder on the system datastore, for the socket and the scratch files.
 * @throws FailedError when libvirt has another job, or other disks than OpenNebula, or there is no room for scratch
 *   files.
 */
export async function prepareBackupJob(
  disks: readonly RunningDisk[],
  folder: string,
  run: Run,
): Promise<Prepared> {
  const [first] = disks;
  if (!first) return { pointInTime: 'given', snapshot: () => Promise.resolve([]) };
  const { vm } = first.plan;
  const domain = domainOf(vm, run);
  const { disks: known, owner } = await requireIdle(vm, domain);
  const targets = new Map<RunningDisk, string>();
  for (const disk of disks) {
    const { plan, top } = disk;
    const { format } = plan;
    const expected = { label: diskLabel(plan), target: plan.disk.target, format };
    const target = await requireSameDisk({ ...expected, place: { path: top.path } }, known, run);
    targets.set(disk, target);
  }

  await requireScratchRoom(
    vm,
    folder,
    disks.map(({ top }) => top.virtualSize),
    run,
  );

  const { journal, runner } = run;
  const socket = backupSocket(folder, journal.runId);
  if (Buffer.byteLength(socket) > maxSocketPath) {
    throw new FailedError(`the path ${socket} is too long for a socket`);
  }
  await journal.record(removeFile.undo({ path: socket }), runner.target);
  const scratch = new Map<string, string>();
  for (const [{ plan, top }, target] of targets) {
    const path = scratchFile(folder, journal.runId, plan.disk.id);
    await journal.record(removeFile.undo({ path }), runner.target);
    await createQcow2Scratch(runner, path, top.virtualSize, owner);
    scratch.set(target, path);
  }
  const order = backupOrder(folder, journal.runId);
  await journal.record(removeFile.undo({ path: order }), runner.target);
  await writeNewFile(runner, order, backupXml(socket, [...known.keys()], scratch));
  await journal.record(
    abortBackupJob.undo({ uri: domain.uri, domain: domain.name, socket }),
    runner.target,
  );
  return {
    pointInTime: 'together',
    async snapshot(): Promise<readonly Snapshot<FileSource>[]> {
      await beginBackup(domain, order);
      return [...targets].map(([{ plan, top }, exportName]) => ({
        plan,
        layout: top.layout,
        source: { kind: 'nbd', socket, exportName, virtualSize: top.virtualSize },
      }));
    },
  };
}

/** Opens a disk that the backup job serves. */
export async function openExport(
  { plan, source }: { readonly plan: DumpPlan; readonly source: NbdSource },
  run: Run,
): Promise<DiskReader> {
  const { runner, log, signal } = run;
  const domain = domainOf(plan.vm, run);
  const label = diskLabel(plan);
  let forwarded: ForwardedSocket | undefined;
  const explained = async (error: unknown): Promise<unknown> =>
    await whyLost(await ifLost(error, forwarded, label), plan, domain, signal);
  try {
    forwarded = await runner.forwardSocket(source.socket);
    const { exportName, virtualSize } = source;
    const { path: socketPath } = forwarded;
    return explainedReader(
      await openNbdReader({ socketPath, exportName, label, log, signal, virtualSize }),
      explained,
    );
  } catch (error) {
    const refused = error instanceof NotListeningError && !(await forwarded?.lost());
    if (refused) await requireForwarding(runner, source.socket);
    throw await explained(error);
  }
}

/** A guest that is shut down takes the NBD server with it. Then the error must say that the guest was shut down. */
async function whyLost(
  error: unknown,
  plan: DumpPlan,
  domain: Domain,
  signal: AbortSignal,
): Promise<unknown> {
  // libvirt notices that QEMU has ended slightly later than we do.
  for (let asked = 0; error instanceof FailedError && !signal.aborted && asked < 10; asked++) {
    const state = await domainState(domain).catch(() => 'unknown');
    if (state === undefined || state === 'shut off') {
      return new FailedError(
        `the guest of VM ${plan.vm.id} was shut down while ${diskLabel(plan)} was being read; export the VM again as it is now`,
        { cause: error },
      );
    }
    await sleep(pollMs * asked);
  }
  return error;
}
