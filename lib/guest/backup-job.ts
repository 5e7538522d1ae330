// Ends the backup job by which QEMU serves a running VM's disks.
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, FailedError } from '../report/errors.ts';
import {
  abortJob,
  activeJob,
  backupJobSocket,
  domainState,
  isStoppedByIoError,
  resumeDomain,
  type Domain,
} from '../tools/virsh.ts';

const abortLimitMs = 40_000;
const pollMs = 100;
/** How often virsh may fail before we give up on libvirt. */
const maxFailures = 20;

/**
 * For an undo: ends the backup job that serves on `socket`, and waits for its end. Does nothing if the domain has
 * another job, or none. A guest that QEMU has stopped because it could not copy what the guest overwrites is resumed:
 * QEMU then repeats the write.
 * @throws FailedError when the job does not end, or libvirt does not answer.
 */
export async function abortOwnBackupJob(domain: Domain, socket: string): Promise<void> {
  const deadline = performance.now() + abortLimitMs;
  let lastWords = 'it goes on';
  let wasOurs = false;
  for (let failures = 0; failures < maxFailures && performance.now() < deadline;) {
    try {
      const isOurs = await hasOwnJob(domain, socket);
      wasOurs ||= isOurs;
      if (!isOurs) {
        if (wasOurs && (await isStoppedByIoError(domain))) await resumeDomain(domain);
        return;
      }
    } catch (error) {
      lastWords = errorMessage(error);
      failures += 1;
    }
    await sleep(pollMs);
  }
  throw new FailedError(`the backup job of ${domain.name} does not end: ${lastWords}`);
}

/** Whether the domain has our job, or may still get it. Tells libvirt to end our job. */
async function hasOwnJob(domain: Domain, socket: string): Promise<boolean> {
  const state = await domainState(domain);
  if (state === undefined || state === 'shut off') return false;
  const found = await backupJobSocket(domain);
  // libvirt cannot describe a backup job that is only beginning, which may be ours.
  if (found === undefined) return (await activeJob(domain)) === 'Backup';
  if (found !== socket) return false;
  await abortJob(domain);
  return true;
}
