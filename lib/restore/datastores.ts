// Which datastore each restored image goes to.
import type { Bundle } from '../bundle/bundle.ts';
import type { OneClient } from '../one/client.ts';
import { findDatastore, getDatastore, type Datastore } from '../one/datastores.ts';
import { OpenNebulaError, UsageError } from '../report/errors.ts';
import type { DiskPlan, ImagePlan } from './image-plan.ts';
import { requireSafeFolder } from './safe-folder.ts';

export interface DatastoreRequest {
  readonly bundle: Bundle;
  /** Id or name of the datastore for all images; by default each goes where it came from. */
  readonly datastore: string | undefined;
  /** The folder that images are taken from. */
  readonly stagingDir: string;
}

/** The datastore of each image to register; refuses early what oned would refuse late. */
export async function chooseDatastores(
  plans: readonly DiskPlan[],
  { datastore, stagingDir, bundle }: DatastoreRequest,
  one: OneClient,
): Promise<Map<ImagePlan, Datastore>> {
  const chosen = new Map<ImagePlan, Datastore>();
  const everywhere = datastore === undefined ? undefined : await findDatastore(one, datastore);
  const toRegister = plans.filter((plan): plan is ImagePlan => plan.as === 'register');
  // A volatile disk came from no image datastore: it goes where the VM's other images go.
  const usual = toRegister.find((plan) => plan.datastoreId !== undefined)?.datastoreId;
  for (const plan of toRegister) {
    const id = plan.datastoreId ?? usual;
    if (!everywhere && id === undefined) {
      throw new UsageError(
        `nothing says which datastore disk ${plan.disk.id} of ${bundle.name} belongs to; choose one with --datastore`,
      );
    }
    const target = everywhere ?? (await datastoreOf(plan, id ?? -1, one));
    if (!target.takesImages) {
      throw new UsageError(
        `datastore ${target.id} (${target.name}) is no image datastore; choose another with --datastore`,
      );
    }
    requireSafeFolder(target, stagingDir);
    chosen.set(plan, target);
  }
  return chosen;
}

async function datastoreOf(plan: ImagePlan, id: number, one: OneClient): Promise<Datastore> {
  try {
    return await getDatastore(one, id);
  } catch (error) {
    if (!(error instanceof OpenNebulaError) || error.code === undefined) throw error;
    throw new OpenNebulaError(
      `the datastore ${id} that disk ${plan.disk.id} came from cannot be used (${error.message}); choose another with --datastore`,
      { code: error.code, cause: error },
    );
  }
}
