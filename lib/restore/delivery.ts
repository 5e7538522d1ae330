// How OpenNebula gets the data of a disk: from a file that is staged for it (staged.ts), or from an address that its
// datastore driver fetches (address-delivery.ts and ticket-delivery.ts in lib/datastore).
import type { Datastore } from '../one/datastores.ts';
import type { ImagePlan } from './image-plan.ts';

export interface Delivered {
  /** PATH of the new image; unique among all images. */
  readonly path: string;
  /** The id of a backup datastore whose driver understands `path`; undefined for a file. */
  readonly fromBackupDatastore?: number;
}

export interface Delivery {
  /** Whether the restore waits until the images are READY; else OpenNebula fetches the data later. */
  readonly waitsForImages: boolean;
  /** Called once, before anything is changed. @throws UsageError when this user or this folder cannot be used */
  check(): Promise<void>;
  /**
   * Called once, when it is known where each image goes, and before anything is changed in OpenNebula.
   * @throws UsageError or UnsupportedError when a datastore would not accept what this delivers, or it cannot be delivered
   */
  prepare(images: ReadonlyMap<ImagePlan, Datastore>): Promise<void>;
  /** Whether there is room for this disk while OpenNebula is still copying the one before. */
  hasRoomFor(plan: ImagePlan, signal: AbortSignal): Promise<boolean>;
  /** Makes the data available. @throws FailedError, BundleError, the signal's reason */
  deliver(plan: ImagePlan, signal: AbortSignal): Promise<Delivered>;
  /** Removes what `deliver` made; called when OpenNebula has the data. */
  drop(delivered: Delivered): Promise<void>;
  /** Returns the error to report for one of OpenNebula's, with advice if this delivery may be the cause. */
  explained(error: unknown): unknown;
  close(): Promise<void>;
}
