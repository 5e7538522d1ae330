// Opens a disk that a backup job serves, and finds out why it was lost.
import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskReader } from '../../read/disk-reader.ts';
import { explainedReader } from '../../read/reader-with-reasons.ts';
import { openNbdReader } from '../../read/nbd-reader.ts';
import { NotListeningError } from '../../read/nbd-socket.ts';
import { FailedError } from '../../report/errors.ts';
import { ifLost, requireForwarding } from '../../run/forwarded-socket.ts';
import type { Run } from '../../run/run.ts';
import type { ForwardedSocket } from '../../run/runner.ts';
import { backupJobSocket, domainState } from '../../tools/virsh.ts';
import { domainOf } from '../../guest/domain.ts';
import { diskLabel, sourceOf, type DumpPlan, type Snapshot } from '../storage.ts';
import { observeJob } from './job-observer.ts';
import { jobSource, type JobSource } from './source.ts';

const pollMs = 100;

/**
 * Opens a disk whose point in time a backup job has fixed. The connection is closed as soon as the job's description
 * disappears, because the job is about to be ended then: QEMU may hang for good if it stops serving while we read.
 */
export async function openServedDisk(snapshot: Snapshot, run: Run): Promise<DiskReader> {
  const { plan } = snapshot;
  const source = sourceOf(jobSource, snapshot);
  const { runner, log } = run;
  const label = diskLabel(plan);
  if (await isGone(source.description, run)) throw tooLittleSpace(plan, source);
  const over = new AbortController();
  const signal = AbortSignal.any([run.signal, over.signal]);
  const { socket, description, watch } = source;
  const job = { domain: domainOf(plan.vm, run), socket, description, ...watch };
  const observer = await observeJob(job, label, (why) => over.abort(why), run);
  let forwarded: ForwardedSocket | undefined;
  const explained = async (error: unknown): Promise<unknown> =>
    await whyLost(await ifLost(error, forwarded, label), plan, source, run);
  try {
    forwarded = await runner.forwardSocket(source.socket);
    const { exportName, virtualSize } = source;
    const { path: socketPath } = forwarded;
    const reader = explainedReader(
      await openNbdReader({ socketPath, exportName, label, log, signal, virtualSize }),
      explained,
    );
    return {
      ...reader,
      async close() {
        await observer.stop();
        await reader.close();
      },
    };
  } catch (error) {
    await observer.stop();
    const refused = error instanceof NotListeningError && !(await forwarded?.lost());
    if (refused) await requireForwarding(runner, source.socket);
    throw await explained(error);
  }
}

/**
 * The error to report: a guest that is shut down takes the server with it, and the job is ended when there is too little
 * space for what the guest overwrites.
 */
async function whyLost(
  error: unknown,
  plan: DumpPlan,
  source: JobSource,
  run: Run,
): Promise<unknown> {
  if (!(error instanceof FailedError)) return error;
  const { vm } = plan;
  const { description, socket } = source;
  const domain = domainOf(vm, run);
  // libvirt notices that QEMU has ended slightly later than we do.
  for (let asked = 0; !run.signal.aborted && asked < 10; asked++) {
    if (await isGone(description, run).catch(() => false)) {
      return tooLittleSpace(plan, source, error);
    }
    const state = await domainState(domain).catch(() => 'unknown');
    if (state === undefined || state === 'shut off') {
      return new FailedError(
        `the guest of VM ${vm.id} was shut down while ${diskLabel(plan)} was being read; export the VM again as it is now`,
        { cause: error },
      );
    }
    await sleep(pollMs * asked);
  }
  if (run.signal.aborted || (await backupJobSocket(domain).catch(() => socket)) === socket) {
    return (await hasDisappeared(error, socket, run))
      ? new FailedError(
          `the socket ${socket}, on which QEMU serves ${diskLabel(plan)}, has disappeared: somebody has removed it while the backup job goes on; export the VM again`,
          { cause: error },
        )
      : error;
  }
  return new FailedError(
    `somebody has ended the backup job of VM ${vm.id}, as virsh domjobabort does, while ${diskLabel(plan)} was being read; export the VM again`,
    { cause: error },
  );
}

function tooLittleSpace(
  plan: DumpPlan,
  { description }: JobSource,
  cause?: FailedError,
): FailedError {
  return new FailedError(
    `the free space of the file system of ${posix.dirname(description)} got low while ${diskLabel(plan)} was being read: QEMU keeps there what the guest overwrites. The export was given up, so that the guest does not get write errors. Free more space, or export the VM when its guest writes less`,
    { code: 'no-space', cause, facts: { vmId: plan.vm.id } },
  );
}

async function hasDisappeared(error: FailedError, socket: string, run: Run): Promise<boolean> {
  if (run.signal.aborted || !(error instanceof NotListeningError)) return false;
  return await isGone(socket, run).catch(() => false);
}

async function isGone(path: string, { runner }: Run): Promise<boolean> {
  const doing = `look for ${path}`;
  const there = { program: 'test', args: ['-e', path] };
  return (await runner.run(there, { doing, acceptStatus: [1] })).status === 1;
}
