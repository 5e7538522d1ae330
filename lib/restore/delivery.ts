// How OpenNebula gets at the data of a disk: as a file that is laid down for it (staged.ts), or by an address that its
// datastore fetches it from (lib/datastore/address-delivery.ts).
import type { Datastore } from '../one/datastores.ts';
import type { ImagePlan } from './image-plan.ts';

export interface Delivered {
  /** PATH of the new image; no other image has the same. */
  readonly path: string;
  /** The backup datastore whose driver knows `path`. */
  readonly fromBackupDatastore?: number;
}

export interface Delivery {
  /** Whether the images are READY when the restore ends; else OpenNebula fetches the data by itself later. */
  readonly waitsForImages: boolean;
  /** Called once, before anything is changed. @throws UsageError when this user, or the place, cannot be used */
  check(): Promise<void>;
  /** @throws UsageError when the datastore would not take what this delivers */
  requireAcceptedBy(datastore: Datastore): void;
  /** Whether this disk can be delivered beside those that OpenNebula is still taking over. */
  hasRoomFor(plan: ImagePlan, signal: AbortSignal): Promise<boolean>;
  /** Makes the data available. @throws FailedError, BundleError, the signal's reason */
  deliver(plan: ImagePlan, signal: AbortSignal): Promise<Delivered>;
  /** OpenNebula has the data: what was made for it can go. */
  drop(delivered: Delivered): Promise<void>;
  close(): Promise<void>;
}
