// Registers the planned images one after another. While OpenNebula copies one image, the next disk is already delivered;
// never more than one ahead, so that at most two disks are staged at once.
import type { OneClient } from '../one/client.ts';
import type { Datastore } from '../one/datastores.ts';
import { waitForImage } from '../one/image-wait.ts';
import { allocateImage } from '../one/images.ts';
import { removeImage } from '../one/undo.ts';
import { OpenNebulaError } from '../report/errors.ts';
import { formatBytes } from '../report/format.ts';
import type { JournalEntry } from '../run/journal.ts';
import type { Run } from '../run/run.ts';
import type { Delivered, Delivery } from './delivery.ts';
import { imageSizeMb, type ImagePlan } from './image-plan.ts';
import { imageName } from './names.ts';
import { recordedCall } from './recorded-call.ts';

export interface RestoredImage {
  readonly diskId: number;
  readonly imageId: number;
  readonly name: string;
}

export interface Registration {
  readonly run: Run;
  readonly one: OneClient;
  readonly delivery: Delivery;
  /** Base of the images' names. */
  readonly name: string;
  readonly datastores: ReadonlyMap<ImagePlan, Datastore>;
  /** As `allocateImage` takes it. */
  readonly capacityFlag: boolean | undefined;
  /** Milliseconds that one image may take to become READY. */
  readonly imageTimeoutMs: number;
  /** The undo entries of the new images are added to this list. */
  readonly made: JournalEntry[];
}

/**
 * Delivers and registers all planned images.
 * @returns the images, in the order of the plans
 * @throws an OnevmdumpError of any kind, or the reason of the run's signal
 */
export async function registerImages(
  plans: readonly ImagePlan[],
  registration: Registration,
): Promise<RestoredImage[]> {
  const { run, delivery } = registration;
  const images: RestoredImage[] = [];
  const failed = new AbortController();
  const signal = AbortSignal.any([run.signal, failed.signal]);
  // Never rejects: a failure aborts the signal instead, so that the delivery that runs at the same time ends soon.
  let takeOver: Promise<void> = Promise.resolve();
  try {
    for (const plan of plans) {
      if (!(await delivery.hasRoomFor(plan, signal))) await takeOver;
      signal.throwIfAborted();
      const delivered = await delivery.deliver(plan, signal);
      await takeOver;
      signal.throwIfAborted();
      const image = await register(plan, delivered, registration);
      images.push(image);
      if (!delivery.waitsForImages) continue;
      takeOver = takenOver(image, delivered, registration, signal).catch((error: unknown) =>
        failed.abort(error),
      );
    }
  } catch (error) {
    failed.abort(error);
    throw error;
  } finally {
    await takeOver;
  }
  signal.throwIfAborted();
  return images;
}

async function register(
  plan: ImagePlan,
  delivered: Delivered,
  { run, one, name: base, datastores, capacityFlag, made }: Registration,
): Promise<RestoredImage> {
  const { path, fromBackupDatastore } = delivered;
  const datastore = datastores.get(plan);
  if (!datastore) throw new Error(`no datastore chosen for disk ${plan.disk.id}`);
  const name = imageName(base, plan.disk.id);
  const { endpoint } = one;
  const since = Date.now();
  const entry = await run.journal.record(removeImage.undo({ endpoint, name, path, since }));
  made.push(entry);
  const image = {
    name,
    path,
    type: plan.type,
    persistent: plan.persistent,
    devPrefix: plan.devPrefix,
    description: plan.description,
    attributes: plan.attributes,
    capacityFlag,
    ...(fromBackupDatastore === undefined ? {} : { fromBackupDatastore }),
  };
  const allocate = () => allocateImage(one, datastore.id, image);
  const imageId = await recordedCall(entry, allocate).catch(async (error: unknown) => {
    throw await explained(error, plan, datastore);
  });
  run.log.info(
    `disk ${plan.disk.id}: registered as image ${imageId} (${name}) in datastore ${datastore.name}`,
  );
  return { diskId: plan.disk.id, imageId, name };
}

/** Adds the datastore and the size that oned compared, which it does not name; for sparse disks the size surprises. */
async function explained(error: unknown, plan: ImagePlan, { name }: Datastore): Promise<unknown> {
  const full = /Not enough space in datastore$/;
  if (!(error instanceof OpenNebulaError) || !full.test(error.message)) return error;
  const size = formatBytes((await imageSizeMb(plan)) * 2 ** 20);
  return new OpenNebulaError(
    `${error.message} ${name}: OpenNebula requires ${size} for disk ${plan.disk.id}, holes included; administrators can skip this check with onevmdump restore --no-check-capacity`,
    {
      oneCode: error.oneCode,
      code: 'datastore-full',
      facts: { datastore: name, diskId: plan.disk.id },
      cause: error,
    },
  );
}

async function takenOver(
  { diskId, imageId }: RestoredImage,
  delivered: Delivered,
  { run, one, delivery, imageTimeoutMs }: Registration,
  signal: AbortSignal,
): Promise<void> {
  await waitForImage(one, imageId, {
    timeoutMs: imageTimeoutMs,
    signal,
    onWait: (seconds) =>
      run.log.info(
        `disk ${diskId}: OpenNebula is taking over image ${imageId}, ${seconds} s so far`,
      ),
  });
  await delivery.drop(delivered);
}
