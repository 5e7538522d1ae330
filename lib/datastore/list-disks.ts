// `ls`: the addresses of a backup's disks, for OpenNebula's restore of a VM in place.
import type { XmlElement } from '../input/xml.ts';
import { child } from '../input/xml.ts';
import { UsageError } from '../report/errors.ts';
import type { ActionContext } from './action.ts';
import { requiredAt, valueAt } from './action-data.ts';
import { atBundles } from './at-bundles.ts';
import { backupDatastore } from './backup-datastore.ts';
import { diskUrl, type DiskForm } from './disk-url.ts';
import { openBackup } from './open-bundle.ts';

/**
 * @param context `args` are `-i INCREMENT`; -1 for the last
 * @returns JSON: the disks' ids and addresses
 */
export async function listDisks(
  data: XmlElement,
  secret: string,
  context: ActionContext,
): Promise<string> {
  requireFull(context.args);
  const datastore = backupDatastore(data);
  const name = requiredAt(data, 'IMAGE/SOURCE');
  const form = formFor(data);
  const ids = await atBundles(datastore, context, async (runner) => {
    const bundle = await openBackup(datastore, name, runner, context);
    await bundle.close();
    return bundle.disks.map(({ id }) => id);
  });
  const urls = ids.map((id) => {
    const address = { datastoreId: datastore.id, bundle: name, diskId: id, form };
    return [String(id), diskUrl(address, secret)];
  });
  return JSON.stringify(Object.fromEntries(urls));
}

/**
 * TM `restore` of file storages puts what it gets in the place of the disk; that of others converts it,
 * looking at its content to know what it is.
 */
function formFor(data: XmlElement): DiskForm {
  const vm = child(data, 'VM');
  const tmMad = vm && (valueAt(vm, 'TEMPLATE/TM_MAD_SYSTEM') ?? '');
  return tmMad === 'ceph' ? 'image' : 'disk';
}

function requireFull(args: readonly string[]): void {
  const [option = '-i', increment = '-1', ...more] = args;
  if (!['-i', '--increment'].includes(option) || !/^-?\d+$/.test(increment) || more.length > 0) {
    throw new UsageError(`expected -i INCREMENT, but got: ${args.join(' ')}`);
  }
  if (Number(increment) > 0) {
    throw new UsageError(`the backup has no increment ${increment}: it is a full one`);
  }
}
