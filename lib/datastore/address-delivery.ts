// Delivers disks by addresses: oned waits 180 seconds for a restore, so no data moves here. Images are registered with
// the address of a disk in the bundle, and the image datastore fetches it by itself.
import type { Delivery } from '../restore/delivery.ts';
import { diskUrl } from './disk-url.ts';

/** @param bundle its name in the backup datastore. @param secret for signing the addresses */
export function addressDelivery(datastoreId: number, bundle: string, secret: string): Delivery {
  return {
    waitsForImages: false,
    check: () => Promise.resolve(),
    requireAcceptedBy: () => undefined,
    hasRoomFor: () => Promise.resolve(true),
    deliver: ({ disk }) => {
      const address = { datastoreId, bundle, diskId: disk.id, form: 'image' } as const;
      return Promise.resolve({
        path: diskUrl(address, secret),
        fromBackupDatastore: datastoreId,
      });
    },
    drop: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
