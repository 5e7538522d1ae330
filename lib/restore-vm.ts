// The whole restore, from the opened bundle to the registered template, from top to bottom. What it
// makes in OpenNebula is in the journal first; withRun undoes it when the restore fails.
import type { Bundle } from './bundle/bundle.ts';
import { writeXml } from './input/xml-write.ts';
import { parseVm } from './input/vm-xml.ts';
import type { OneClient } from './one/client.ts';
import type { Datastore } from './one/datastores.ts';
import { allocateImage, waitForImage } from './one/images.ts';
import { allocateTemplate, instantiateTemplate } from './one/templates.ts';
import { BundleError } from './report/errors.ts';
import { existingCdroms } from './restore/cdroms.ts';
import { chooseDatastores } from './restore/datastores.ts';
import { planDisks, type ImagePlan } from './restore/image-plan.ts';
import { defaultName, freeName } from './restore/names.ts';
import { openStaging, type Staging } from './restore/staged.ts';
import type { JournalEntry } from './run/journal.ts';
import type { Run } from './run/run.ts';
import { restoredTemplate, type RestoredDisk } from './vm/restored-template.ts';

/** How far clocks of this machine and of oned may differ when a template's time is looked at. */
const clockSkewSeconds = 600;

export interface RestoreRequest {
  readonly bundle: Bundle;
  /** Name of the template and base of the image names; by default made from VM id and time. */
  readonly name: string | undefined;
  readonly instantiate: boolean;
  readonly nics: 'none' | 'same-addresses' | 'new-addresses';
  /** Id or name of the datastore for all images. */
  readonly datastore: string | undefined;
  /** Register only the images of these disks, and no template. */
  readonly onlyDisks: readonly number[] | undefined;
  readonly volatile: 'image' | 'fresh';
  readonly stagingDir: string;
  /** Whether oned compares sizes, holes included, with what the datastore has free. */
  readonly checkCapacity: boolean;
  /** How long one image may take to become READY. */
  readonly imageTimeoutMs: number;
}

/** What --json prints. */
export interface RestoreReport {
  readonly name: string;
  readonly templateId: number | null;
  readonly vmId: number | null;
  readonly images: readonly RestoredImage[];
  readonly seconds: number;
}

interface RestoredImage {
  readonly diskId: number;
  readonly imageId: number;
  readonly name: string;
}

/**
 * Restores one bundle into OpenNebula.
 * @throws an OnevmdumpError of any kind; what this run had registered is deleted again then.
 */
export async function restoreVm(
  request: RestoreRequest,
  run: Run,
  one: OneClient,
): Promise<RestoreReport> {
  const started = new Date();
  const { bundle } = request;
  const vm = parseVm(bundle.vmXml);
  if (bundle.manifest && bundle.manifest.vm.id !== vm.id) {
    throw new BundleError(
      `${bundle.name}: its manifest is of VM ${bundle.manifest.vm.id}, its vm.xml of VM ${vm.id}`,
    );
  }
  const name = await freeName(
    one,
    request.name,
    defaultName(vm.id, new Date(bundle.manifest?.created ?? bundle.modified)),
    bundle.disks.map(({ id }) => id),
  );
  const plans = planDisks(vm, bundle, {
    name,
    volatile: request.volatile,
    only: request.onlyDisks,
    cdroms: request.onlyDisks ? new Map() : await existingCdroms(vm, bundle, one),
  });
  const datastores = await chooseDatastores(plans, request, one);

  const made: JournalEntry[] = [];
  const images: RestoredImage[] = [];
  const disks: RestoredDisk[] = [];
  const staging = await openStaging(request.stagingDir, run);
  try {
    for (const plan of plans) {
      const { disk } = plan;
      if (plan.as === 'volatile') {
        disks.push({ disk, as: 'volatile' });
      } else if (plan.as === 'absent') {
        run.log.warn(
          `disk ${disk.id}: the bundle does not hold this CD-ROM, and its image ${disk.image ?? ''} cannot be used: the VM comes back without it`,
        );
      } else if (plan.as === 'reuse') {
        run.log.info(
          `disk ${disk.id}: the CD-ROM's image ${plan.imageId} still exists and is used`,
        );
        disks.push({ disk, as: 'image', imageId: plan.imageId });
      } else {
        const datastore = datastores.get(plan);
        if (!datastore) throw new Error(`no datastore chosen for disk ${disk.id}`);
        const imageId = await registerImage(plan, datastore, { request, run, one, staging, made });
        images.push({ diskId: disk.id, imageId, name: plan.name });
        disks.push({ disk, as: 'image', imageId });
      }
    }
  } finally {
    await staging.close();
  }
  const report = { name, images, templateId: null, vmId: null };
  if (request.onlyDisks) {
    await settle(made);
    return { ...report, seconds: secondsSince(started) };
  }

  made.push(
    await run.journal.record({
      kind: 'delete-template',
      endpoint: one.endpoint,
      name,
      since: Math.floor(Date.now() / 1000) - clockSkewSeconds,
    }),
  );
  const template = restoredTemplate(vm, { name, nics: request.nics, disks, now: started });
  for (const warning of template.warnings) run.log.warn(warning);
  const templateId = await allocateTemplate(one, writeXml(template.xml));
  const vmId = request.instantiate ? await instantiateTemplate(one, templateId, { name }) : null;
  await settle(made);
  return { ...report, templateId, vmId, seconds: secondsSince(started) };
}

/** What was made stays: it is no longer undone. */
async function settle(made: readonly JournalEntry[]): Promise<void> {
  for (const entry of made) await entry.done();
}

function secondsSince(started: Date): number {
  return (Date.now() - started.getTime()) / 1000;
}

interface Registration {
  readonly request: RestoreRequest;
  readonly run: Run;
  readonly one: OneClient;
  readonly staging: Staging;
  /** Gets the entry that would delete the image again. */
  readonly made: JournalEntry[];
}

/** Writes one disk where OpenNebula can read it, registers it, and waits until it was taken over. */
async function registerImage(
  plan: ImagePlan,
  datastore: Datastore,
  { request, run, one, staging, made }: Registration,
): Promise<number> {
  const label = `disk ${plan.disk.id}`;
  const task = run.progress.begin(label, plan.source.dataBytes);
  let path: string;
  try {
    path = await staging.stage(plan.source, plan.format, task);
  } finally {
    task.end();
  }
  const { name } = plan;
  made.push(await run.journal.record({ kind: 'delete-image', endpoint: one.endpoint, name, path }));
  const imageId = await allocateImage(one, datastore.id, {
    name,
    path,
    type: plan.type,
    persistent: plan.persistent,
    devPrefix: plan.devPrefix,
    description: plan.description,
    attributes: plan.attributes,
    checkCapacity: request.checkCapacity,
  });
  run.log.info(`${label}: registered as image ${imageId} (${name}) in datastore ${datastore.name}`);
  await waitForImage(one, imageId, {
    timeoutMs: request.imageTimeoutMs,
    signal: run.signal,
    onWait: (seconds) =>
      run.log.info(`${label}: OpenNebula is taking over image ${imageId}, ${seconds} s so far`),
  });
  await staging.drop(path);
  return imageId;
}
