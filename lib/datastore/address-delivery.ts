// Delivers disks as addresses. oned waits only 180 seconds for a restore, so no data moves during it: an image is registered
// with the address of a disk in the bundle, and the driver of the image datastore fetches the disk later.
import type { Delivery } from '../restore/delivery.ts';
import { diskUrl } from './disk-url.ts';

/** @param bundle its name in the backup datastore. @param secret signs the addresses */
export function addressDelivery(datastoreId: number, bundle: string, secret: string): Delivery {
  return {
    waitsForImages: false,
    check: () => Promise.resolve(),
    prepare: () => Promise.resolve(),
    hasRoomFor: () => Promise.resolve(true),
    deliver: ({ disk }) => {
      const address = { datastoreId, bundle, diskId: disk.id, form: 'image' } as const;
      return Promise.resolve({
        path: diskUrl(address, secret),
        fromBackupDatastore: datastoreId,
      });
    },
    drop: () => Promise.resolve(),
    explained: (error) => error,
    close: () => Promise.resolve(),
  };
}
