// `restore` of a backup datastore: turns oned's request into one for lib/restore-vm.ts. Images are delivered as addresses,
// because oned waits only 180 seconds for the answer.
import type { XmlElement } from '../xml/xml.ts';
import type { OneClient } from '../one/client.ts';
import { FailedError, UnsupportedError } from '../report/errors.ts';
import { restoreVm } from '../restore-vm.ts';
import type { Run } from '../run/run.ts';
import { asId, idAt, isYesAt, requiredAt, valueAt } from './action-data.ts';
import { addressDelivery } from './address-delivery.ts';
import { backupDatastore } from './backup-datastore.ts';
import { openBackup } from './open-bundle.ts';

/** oned waits 180 s. Objects that are registered after that would never be known to the user. */
const limitMs = 170_000;

export interface RestoreBackupDeps {
  /** The client of the user who restores. */
  readonly one: OneClient;
  /** Signs the addresses of disks. */
  readonly secret: string;
}

/**
 * Restores a backup, or one disk of it.
 * @returns `TEMPLATE_ID IMAGE_ID ...`, as oned expects; -1 for the template when only one disk was requested
 * @throws an OnevmdumpError of any kind; then everything that was registered is deleted again
 */
export async function restoreBackup(
  data: XmlElement,
  { one, secret }: RestoreBackupDeps,
  run: Run,
): Promise<string> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new FailedError('the restore took too long: OpenNebula waits 180 seconds for it'));
  }, limitMs);
  const datastore = backupDatastore(data);
  refuseIncrement(data);
  const source = requiredAt(data, 'IMAGE/SOURCE');
  const bundle = await openBackup(datastore, source, run.runnerAt(datastore.host), run);
  try {
    const onlyDisk = valueAt(data, 'TEMPLATE/DISK_ID');
    const { templateId, images } = await restoreVm(
      {
        bundle,
        name: valueAt(data, 'TEMPLATE/NAME'),
        instantiate: false,
        nics: nicsIn(data),
        datastore: idAt(data, 'DESTINATION_DS_ID'),
        mapDatastores: [],
        mapNetworks: [],
        onlyDisks: onlyDisk === undefined ? undefined : [asId(onlyDisk, 'DISK_ID')],
        volatile: 'image',
        noHostAttributes: false,
        owner: undefined,
        checkCapacity: true,
        imageTimeoutMs: limitMs,
      },
      {
        run: { ...run, signal: AbortSignal.any([run.signal, late.signal]) },
        one,
        delivery: addressDelivery(datastore.id, source, secret),
      },
    );
    return [templateId ?? -1, ...images.map(({ imageId }) => imageId)].join(' ');
  } finally {
    clearTimeout(timer);
    await bundle.close();
  }
}

function refuseIncrement(data: XmlElement): void {
  const increment = valueAt(data, 'TEMPLATE/INCREMENT_ID');
  if (increment === undefined || Number(increment) <= 0) return;
  throw new UnsupportedError(`the backup has no increment ${increment}: it is a full one`);
}

function nicsIn(data: XmlElement): 'none' | 'same-addresses' | 'new-addresses' {
  if (isYesAt(data, 'TEMPLATE/NO_NIC')) return 'none';
  return isYesAt(data, 'TEMPLATE/NO_IP') ? 'new-addresses' : 'same-addresses';
}
