// The options of a restore, and the collaborators it works with.
import type { Bundle } from '../bundle/read/bundle.ts';
import type { OneClient } from '../one/client.ts';
import type { Delivery } from './delivery.ts';
import type { Mapping } from './mapping.ts';
import type { Run } from '../run/run.ts';

export interface RestoreRequest {
  readonly bundle: Bundle;
  /** Name of the template and base of the images' names; undefined: made from the VM's id and the time of the export. */
  readonly name: string | undefined;
  readonly instantiate: boolean;
  readonly nics: 'none' | 'same-addresses' | 'new-addresses';
  /** The datastore for all images: its id (number), or its name or id as the user wrote it (string). */
  readonly datastore: string | number | undefined;
  /** Datastores and networks that replace those that the bundle names. */
  readonly mapDatastores: readonly Mapping[];
  readonly mapNetworks: readonly Mapping[];
  /** Register only the images of these disks, and no template. */
  readonly onlyDisks: readonly number[] | undefined;
  readonly volatile: 'image' | 'fresh';
  /** Leave out attributes that act on the host, such as RAW. */
  readonly noHostAttributes: boolean;
  /** `USER[:GROUP]` that will own everything; undefined: the caller owns it. */
  readonly owner: string | undefined;
  /** Whether oned compares the images' sizes, holes included, with the free space of the datastore. */
  readonly checkCapacity: boolean;
  /** Milliseconds that one image may take to become READY. */
  readonly imageTimeoutMs: number;
}

export interface RestoreDeps {
  readonly run: Run;
  /** The client of the user who restores. */
  readonly one: OneClient;
  readonly delivery: Delivery;
}
