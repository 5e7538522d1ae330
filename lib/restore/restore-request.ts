// What a restore is asked for, and what it works with.
import type { Bundle } from '../bundle/read/bundle.ts';
import type { OneClient } from '../one/client.ts';
import type { Delivery } from './delivery.ts';
import type { Mapping } from './mapping.ts';
import type { Run } from '../run/run.ts';

export interface RestoreRequest {
  readonly bundle: Bundle;
  /** Name of the template and base of the image names; by default made from VM id and time. */
  readonly name: string | undefined;
  readonly instantiate: boolean;
  readonly nics: 'none' | 'same-addresses' | 'new-addresses';
  /** The datastore for all images: its id (a number), or its name or id as the user wrote it. */
  readonly datastore: string | number | undefined;
  /** Datastores and networks to use instead of those that the bundle names. */
  readonly mapDatastores: readonly Mapping[];
  readonly mapNetworks: readonly Mapping[];
  /** Register only the images of these disks, and no template. */
  readonly onlyDisks: readonly number[] | undefined;
  readonly volatile: 'image' | 'fresh';
  /** Leave out attributes that reach the host, such as RAW. */
  readonly noHostAttributes: boolean;
  /** `USER[:GROUP]` whom everything is given to; undefined: it stays the caller's. */
  readonly owner: string | undefined;
  /** Whether oned compares sizes, holes included, with what the datastore has free. */
  readonly checkCapacity: boolean;
  /** How long one image may take to become READY. */
  readonly imageTimeoutMs: number;
}

export interface RestoreMeans {
  readonly run: Run;
  /** The client of the user who restores. */
  readonly one: OneClient;
  readonly delivery: Delivery;
}
