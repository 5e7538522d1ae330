// How OpenNebula gets the data of a disk: from a file that is staged for it (staged.ts), or from an address that its
// datastore driver fetches (lib/datastore/address-delivery.ts).
import type { Datastore } from '../one/datastores.ts';
import type { ImagePlan } from './image-plan.ts';

export interface Delivered {
  /** PATH of the new image; unique among all images. */
  readonly path: string;
  /** The id of the backup datastore whose driver understands `path`; undefined for a file. */
  readonly fromBackupDatastore?: number;
}

export interface Delivery {
  /** Whether the restore waits until the images are READY; else OpenNebula fetches the data later. */
  readonly waitsForImages: boolean;
  /** Called once, before anything is changed. @throws UsageError when this user or this folder cannot be used */
  check(): Promise<void>;
  /** @throws UsageError when the datastore would not accept what this delivers */
  requireAcceptedBy(datastore: Datastore): void;
  /** Whether there is room for this disk while OpenNebula is still copying the one before. */
  hasRoomFor(plan: ImagePlan, signal: AbortSignal): Promise<boolean>;
  /** Makes the data available. @throws FailedError, BundleError, the signal's reason */
  deliver(plan: ImagePlan, signal: AbortSignal): Promise<Delivered>;
  /** Removes what `deliver` made; called when OpenNebula has the data. */
  drop(delivered: Delivered): Promise<void>;
  close(): Promise<void>;
}
