// Chooses the datastore of each restored image. In another OpenNebula the same id may be another datastore, so a datastore
// is kept only when both its id and its name are those in the bundle.
import type { OneClient } from '../one/client.ts';
import { findDatastore, getDatastore, type Datastore } from '../one/datastores.ts';
import { OpenNebulaError, UsageError } from '../report/errors.ts';
import type { ImagePlan } from './image-plan.ts';
import { matchMappings, nameOf, type Mapping, type OldObject } from './mapping.ts';
import { isRefusal } from '../one/answers.ts';

export interface DatastoreRequest {
  /** For all images: an id (number), or what the user wrote (string); undefined: each image's own datastore. */
  readonly datastore: string | number | undefined;
  readonly mappings: readonly Mapping[];
}

const words = { option: '--map-datastore', what: 'image datastore' };

/**
 * The datastore of each image to register.
 * @throws UsageError when no datastore is known for a disk, or it is not an image datastore; OpenNebulaError
 */
export async function chooseDatastores(
  plans: readonly ImagePlan[],
  { datastore, mappings }: DatastoreRequest,
  one: OneClient,
): Promise<Map<ImagePlan, Datastore>> {
  // A volatile disk has no image datastore: its image goes to the datastore of the VM's first image.
  const usual = plans.find((plan) => plan.datastore)?.datastore;
  const old = new Map(
    plans.flatMap((plan) => (plan.datastore ? [[plan.datastore.id, plan.datastore] as const] : [])),
  );
  const mapped = matchMappings(mappings, [...old.values()], words);
  const everywhere = datastore === undefined ? undefined : await find(one, datastore);
  const known = new Map<number, Datastore>();
  const chosen = new Map<ImagePlan, Datastore>();
  for (const plan of plans) {
    const from = plan.datastore ?? usual;
    if (!everywhere && !from) {
      throw new UsageError(
        `the bundle names no image datastore for disk ${plan.disk.id}; choose one with --datastore`,
      );
    }
    let target = everywhere ?? (from && known.get(from.id));
    if (!target && from) {
      const mapping = mapped.get(from.id);
      target = mapping
        ? await findDatastore(one, mapping.to)
        : await sameDatastore(plan, from, one);
      known.set(from.id, target);
    }
    if (!target) throw new Error(`no datastore chosen for disk ${plan.disk.id}`);
    if (!target.takesImages) {
      throw new UsageError(
        `datastore ${target.id} (${target.name}) is not an image datastore; choose another with --datastore`,
      );
    }
    if (!target.copiesImages) {
      throw new UsageError(
        `datastore ${target.id} (${target.name}) copies nothing: its images are devices or folders that exist already (DS_MAD ${target.dsMad}); choose another one for disk ${plan.disk.id} with --map-datastore ${target.id}=<id or name>, or one for all disks with --datastore`,
      );
    }
    chosen.set(plan, target);
  }
  return chosen;
}

async function find(one: OneClient, datastore: string | number): Promise<Datastore> {
  return typeof datastore === 'number'
    ? await getDatastore(one, datastore)
    : await findDatastore(one, datastore);
}

async function sameDatastore(plan: ImagePlan, old: OldObject, one: OneClient): Promise<Datastore> {
  const advice = `choose one with --map-datastore ${old.id}=<id or name>, or one for all disks with --datastore`;
  let here: Datastore;
  try {
    here = await getDatastore(one, old.id);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new OpenNebulaError(
      `datastore ${nameOf(old)}, which disk ${plan.disk.id} came from, cannot be used (${error.message}): ${advice}`,
      { oneCode: error.oneCode, cause: error },
    );
  }
  if (here.name === old.name) return here;
  throw new UsageError(
    `disk ${plan.disk.id} came from datastore ${nameOf(old)}, but datastore ${old.id} is ${here.name} here: ${advice}`,
  );
}
