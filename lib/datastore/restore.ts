// The whole `restore` of a backup datastore: oned's request becomes a request of lib/restore-vm.ts, whose images are
// delivered by addresses, since oned waits 180 seconds for the answer.

import type { XmlElement } from '../xml/xml.ts';
import type { OneClient } from '../one/client.ts';
import { FailedError, UnsupportedError } from '../report/errors.ts';
import { restoreVm } from '../restore-vm.ts';
import type { Run } from '../run/run.ts';
import { asId, idAt, isYesAt, requiredAt, valueAt } from './action-data.ts';
import { addressDelivery } from './address-delivery.ts';
import { backupDatastore } from './backup-datastore.ts';
import { openBackup } from './open-bundle.ts';

/** oned gives up after 180 s; what is registered later would belong to nobody. */
const limitMs = 170_000;

export interface RestoreBackupMeans {
  /** The client of the user who asked. */
  readonly one: OneClient;
  /** For signing the addresses of disks. */
  readonly secret: string;
}

/**
 * @returns `TEMPLATE_ID IMAGE_ID ...`, as oned expects; -1 for the template when one disk was asked for
 * @throws an OnevmdumpError of any kind; what was registered is deleted again then
 */
export async function restoreBackup(
  data: XmlElement,
  { one, secret }: RestoreBackupMeans,
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
