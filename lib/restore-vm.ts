// The whole restore, from the opened bundle to the registered template and VM, from top to bottom. The command and the
// backup datastore's `restore` both use it. Everything that oned could refuse is checked before any data moves. The undo
// of each object is recorded before the object is made in OpenNebula; withRun carries it out when the restore fails.
import { skipCapacityFlag } from './one/images.ts';
import { getOwnership, type OwnedKind, type Ownership } from './one/ownership.ts';
import { oneVersion } from './one/system.ts';
import { makeVm } from './restore/make-vm.ts';
import { giveTo } from './restore/owner.ts';
import { nvramInPlace } from './restore/nvram-in-place.ts';
import { registerImages, type RestoredImage } from './restore/register-images.ts';
import { reserveTemplate } from './restore/reserved-template.ts';
import type { JournalEntry } from './run/journal.ts';
import type { Run } from './run/run.ts';
import { type Vm } from './vm/vm.ts';
import { isToRegister, planRestore } from './restore/plan-restore.ts';
import type { RestoreDeps, RestoreRequest } from './restore/restore-request.ts';

/** What --json prints. */
export interface RestoreReport {
  readonly name: string;
  readonly templateId: number | null;
  readonly vmId: number | null;
  readonly images: readonly RestoredImage[];
  /** DISK_IDs of disks that are not in the bundle and therefore not in the template. */
  readonly missing: readonly number[];
  /** The owner of the template, the VM and the images; null when nothing was made. */
  readonly owner: Ownership | null;
  readonly seconds: number;
}

/**
 * Restores one bundle into OpenNebula.
 * @throws an OnevmdumpError of any kind; then everything that this run registered is deleted again
 */
export async function restoreVm(
  request: RestoreRequest,
  means: RestoreDeps,
): Promise<RestoreReport> {
  const { run, one, delivery } = means;
  const started = new Date();
  await delivery.check();
  const plan = await planRestore(request, means);
  const { vm, names, plans, datastores, owner, caller, templateOf } = plan;
  await delivery.prepare(datastores);

  const made: JournalEntry[] = [];
  const reservation = templateOf && (await reserveTemplate({ run, one, names, templateOf, made }));
  const name = reservation?.name ?? names.next();
  const toRegister = plans.filter(isToRegister);
  let images: RestoredImage[];
  try {
    images = await registerImages(toRegister, {
      ...{ run, one, delivery, name, datastores, made },
      capacityFlag: request.checkCapacity ? undefined : skipCapacityFlag(await oneVersion(one)),
      imageTimeoutMs: request.imageTimeoutMs,
    });
  } catch (error) {
    throw delivery.explained(error);
  } finally {
    await delivery.close();
  }
  const objects: { kind: OwnedKind; id: number }[] = images.map(({ imageId }) => ({
    kind: 'image',
    id: imageId,
  }));
  if (reservation) {
    const ids = new Map(images.map(({ diskId, imageId }) => [diskId, imageId]));
    await reservation.complete(ids);
    objects.unshift({ kind: 'template', id: reservation.templateId });
  }
  if (owner !== caller) await giveTo(owner, objects, one);
  const first = objects[0];
  const ownership = first ? await getOwnership(one, first.kind, first.id) : null;
  let vmId: number | null = null;
  if (reservation && request.instantiate) {
    const steps =
      owner === caller ? [] : [(id: number) => giveTo(owner, [{ kind: 'vm', id }], one)];
    vmId = await makeVm(reservation, { run, one, steps, made });
  }
  // A signal does not interrupt a call to oned, so it is checked after the last one, while everything can still be undone.
  run.signal.throwIfAborted();
  // The restore is complete: from here on nothing is undone.
  await run.journal.allDone(made);
  if (vmId !== null && plan.nvram) await nvramInPlace(vmId, plan.nvram, { run, one });
  if (ownership) logOwner(ownership, vm, run);
  const templateId = reservation?.templateId ?? null;
  const seconds = (Date.now() - started.getTime()) / 1000;
  const missing = plans.flatMap(({ as, disk }) => (as === 'absent' ? [disk.id] : []));
  return { name, templateId, vmId, images, missing, owner: ownership, seconds };
}

/** Owner, group and permissions of the old VM are not restored: the same ids may be somebody else's here. */
function logOwner({ user, group, permissions }: Ownership, vm: Vm, run: Run): void {
  const old =
    vm.uname === undefined ? '' : `; the VM in the bundle was ${vm.uname}:${vm.gname ?? ''}`;
  run.log.info(`everything restored belongs to ${user}:${group} (${permissions})${old}`);
}
