// How each kind of undo is carried out. Each succeeds when there is nothing left to undo, and
// touches only what this tool made.
import { rm, rmdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { deleteImage, findImageFrom } from '../one/images.ts';
import { restoreLock } from '../one/locks.ts';
import type { OneClient } from '../one/client.ts';
import { deleteTemplate, findTemplateWith, markOfRestore } from '../one/templates.ts';
import { terminateVm, vmsOfTemplate } from '../one/vms.ts';
import { FailedError, hasCode } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Runner, SshTarget } from '../run/runner.ts';
import type { UndoHandlers } from '../run/undo.ts';
import { undoFreeze, undoSuspend } from '../guest/watchdog.ts';
import { undoSnapshot } from '../storage/ceph/snapshots.ts';
import { abortOwnBackupJob } from '../storage/file/running-files.ts';
import { undoActivation, undoVolumeSnapshot } from '../storage/lvm/undo.ts';
import { removeEmptyFolder, removeUnfinished } from '../bundle/location/host-file.ts';
import { stopProcesses } from '../run/processes.ts';
import { domainAt } from '../tools/virsh.ts';
import { ownPrefix } from '../vm/names.ts';

export interface UndoMeans {
  readonly log: Log;
  /** Gives a client for an endpoint; asked only when an undo needs OpenNebula. */
  readonly connect: (endpoint: string) => Promise<OneClient>;
  /** A runner for a machine; undefined is this one. No signal stops what it runs. */
  readonly runnerAt: (on: SshTarget | undefined) => Runner;
  /** How long an image that OpenNebula is still taking over may keep an undo waiting from now on. */
  readonly imageWaitMs?: () => number;
  /** How long oned may take for an answer: a call that was made longer ago makes nothing any more. */
  readonly answerMs: number;
}

/** By default: most images are taken over by then; what is left stays in the journal for `cleanup`. */
const imageWaitMsByDefault = 15 * 60_000;
/** A VM passes through states in which it cannot be ended, such as PROLOG. */
const vmWaitMs = 60_000;
/** For what oned is still making; what comes later stays in the journal, too. */
const answerWaitMs = 10_000;

export function undoHandlers({
  connect,
  runnerAt,
  log,
  imageWaitMs = () => imageWaitMsByDefault,
  answerMs,
}: UndoMeans): UndoHandlers {
  async function remove(how: '-f' | '-rf', path: string, on: SshTarget | undefined): Promise<void> {
    // Here no program has to be found for it.
    if (on === undefined) return rm(path, { force: true, recursive: how === '-rf' });
    const args = [how, '--', path];
    await runnerAt(on).run({ program: 'rm', args }, { doing: `remove ${path}` });
  }

  /**
   * Finds what oned was asked to make at `since`. The process that asked may have ended before the answer, and then oned
   * may still be at it. @returns undefined when it was not made. @throws FailedError when that cannot be said yet
   */
  async function made<T>(
    what: string,
    since: number,
    find: () => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const answered = since + answerMs;
    const deadline = Date.now() + answerWaitMs;
    for (;;) {
      const certain = !(Date.now() < answered);
      const found = await find();
      if (found !== undefined || certain) return found;
      if (Date.now() >= deadline) {
        const seconds = Math.ceil((answered - Date.now()) / 1000);
        throw new FailedError(
          `OpenNebula may still be making ${what}: run onevmdump cleanup again in ${Math.max(seconds, 1)} s`,
        );
      }
      await sleep(500);
    }
  }

  return {
    'remove-file': ({ path }, on) => remove('-f', path, on),
    'remove-unfinished': (file, on) => removeUnfinished(runnerAt(on), file),
    'remove-folder': async ({ path }, on) => {
      if (!basename(path).startsWith(ownPrefix)) {
        throw new FailedError(`${path} was not made by onevmdump`);
      }
      await remove('-rf', path, on);
    },
    'remove-empty-folder': async ({ path }, on) => {
      if (on !== undefined) return removeEmptyFolder(runnerAt(on), path);
      try {
        await rmdir(path);
      } catch (error) {
        if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].some((code) => hasCode(error, code))) throw error;
      }
    },
    'stop-process': ({ program, argument }, on) => stopProcesses(runnerAt(on), program, argument),
    thaw: ({ uri, domain, guard }, on) => undoFreeze(domainAt(runnerAt(on), uri, domain), guard),
    resume: ({ uri, domain, guard }, on) => undoSuspend(domainAt(runnerAt(on), uri, domain), guard),
    'abort-backup-job': ({ uri, domain, socket }, on) =>
      abortOwnBackupJob(domainAt(runnerAt(on), uri, domain), socket),
    'remove-snapshot-lv': (volume, on) =>
      undoVolumeSnapshot(runnerAt(on), runnerAt(undefined), volume),
    'deactivate-lv': (volume, on) => undoActivation(runnerAt(on), runnerAt(undefined), volume),
    'remove-rbd-snapshot': async ({ image, snapshot, disk, access }, on) => {
      if (!snapshot.startsWith(ownPrefix)) {
        throw new FailedError(`the snapshot ${image}@${snapshot} was not made by onevmdump`);
      }
      await undoSnapshot(runnerAt(on), access, image, snapshot, `${disk} (${image})`);
    },
    'restore-lock': async (undo) => restoreLock(await connect(undo.endpoint), undo, log),
    'delete-image': async ({ endpoint, path, name, since }) => {
      const client = await connect(endpoint);
      const image = await made(`image ${name}`, since, () => findImageFrom(client, path));
      if (!image) return;
      await deleteImage(client, image.id, {
        waitMs: imageWaitMs(),
        onWait: ({ state }) =>
          log.info(
            `image ${image.id} (${name}) is ${state ?? 'busy'}: waiting until it can be deleted`,
          ),
      });
    },
    'delete-template': async ({ endpoint, name, is }) => {
      const client = await connect(endpoint);
      const id =
        'id' in is
          ? is.id
          : await made(`template ${name}`, is.since, () =>
              findTemplateWith(client, markOfRestore, is.mark),
            );
      if (id !== undefined) await deleteTemplate(client, id);
    },
    'terminate-vm': async ({ endpoint, name, templateId, since }) => {
      const client = await connect(endpoint);
      const ids = await made(`VM ${name}`, since, async () => {
        const vms = await vmsOfTemplate(client, templateId);
        return vms.length > 0 ? vms : undefined;
      });
      for (const id of ids ?? []) await terminateVm(client, id, vmWaitMs);
    },
  };
}
