// one.datastore.info and one.datastorepool.info.
import { datastoreXml, getDatastore } from './datastores.ts';
import type { Datastore } from './datastores.ts';
import type { MethodTable, World } from './world.ts';

function xml(world: World, datastore: Datastore): Promise<string> {
  const images = [...world.images.values()].filter((one) => one.datastoreId === datastore.id);
  return datastoreXml(
    datastore,
    images.map((one) => one.id),
  );
}

export const datastoreMethods: MethodTable = {
  'one.datastore.info': ({ world, params }) =>
    xml(world, getDatastore(world.datastores, params.int(1))),
  'one.datastorepool.info': async ({ world }) => {
    const all = await Promise.all([...world.datastores.values()].map((one) => xml(world, one)));
    return `<DATASTORE_POOL>${all.reverse().join('')}</DATASTORE_POOL>`;
  },
};
