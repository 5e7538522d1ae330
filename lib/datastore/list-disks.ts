// `ls`: the addresses of a backup's disks, from which OpenNebula restores a VM in place (`onevm restore`).
import type { XmlElement } from '../xml/xml.ts';
import { child } from '../xml/xml.ts';
import { vmFromElement } from '../vm/vm-xml.ts';
import { UsageError } from '../report/errors.ts';
import { bundleVm } from '../restore/restorable.ts';
import { takesRawAsIs, takesTpm } from '../storage/registry.ts';
import { hasTpm } from '../vm/carried-state.ts';
import { isVolatile, type Vm } from '../vm/vm.ts';
import type { ActionContext } from './action.ts';
import { requiredAt } from './action-data.ts';
import { onBundleHost } from './bundle-host.ts';
import { backupDatastore } from './backup-datastore.ts';
import { diskUrl, type DiskForm } from './disk-url.ts';
import { openBackup } from './open-bundle.ts';

/**
 * Lists the disks that can be restored in place.
 * @param secret signs the addresses
 * @param context `args` are `-i INCREMENT`; -1 is the last one
 * @returns JSON: addresses by DISK_ID
 * @throws UsageError, BundleError, CommandError, ConnectionError
 */
export async function listDisks(
  data: XmlElement,
  secret: string,
  context: ActionContext,
): Promise<string> {
  requireFull(context.args);
  const datastore = backupDatastore(data);
  const name = requiredAt(data, 'IMAGE/SOURCE');
  const vm = currentVm(data);
  // oned runs the `restore` of the TM driver that the last HISTORY record names.
  const form: DiskForm = takesRawAsIs(vm?.history?.tmMad) ? 'disk' : 'image';
  const { ids, hasState } = await onBundleHost(datastore, context, async (runner) => {
    const bundle = await openBackup(datastore, name, runner, context);
    await bundle.close();
    // TM `restore` of qcow2 needs SAVE of each disk. Volatile disks have none, and it would fail half way (6.6 to 7.4).
    const volatile = [bundleVm(bundle), vm].flatMap(volatileDisks);
    const kept = bundle.disks.map(({ id }) => id).filter((id) => !volatile.includes(id));
    return { ids: kept, hasState: bundle.state.some(({ member }) => member === './tpm.tar') };
  });
  const urls = ids.map((id): [string, string] => {
    const address = { datastoreId: datastore.id, bundle: name, diskId: id, form };
    return [String(id), diskUrl(address, secret)];
  });
  // OpenNebula restores it together with disk 0.
  if (hasState && vm && hasTpm(vm) && takesTpm(vm.history?.tmMad)) {
    const address = { datastoreId: datastore.id, bundle: name, diskId: 0, form: 'tpm' } as const;
    urls.push(['tpm', diskUrl(address, secret)]);
  }
  return JSON.stringify(Object.fromEntries(urls));
}

/** The VM as it is now, if oned's TM driver passed it. */
function currentVm(data: XmlElement): Vm | undefined {
  const vm = child(data, 'VM');
  return vm && vmFromElement(vm, Buffer.alloc(0));
}

function volatileDisks(vm: Vm | undefined): readonly number[] {
  return (vm?.disks ?? []).filter(isVolatile).map(({ id }) => id);
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
