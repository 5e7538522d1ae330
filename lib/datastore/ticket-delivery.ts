// Delivers disks of a bundle that lies anywhere as addresses with a ticket, for the command: OpenNebula's datastore driver
// fetches each disk from the bundle, and nothing is staged.
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseBundleAddress } from '../bundle/location/bundle-address.ts';
import type { Bundle } from '../bundle/read/bundle.ts';
import type { OneClient } from '../one/client.ts';
import { backupDatastoresOf, type Datastore } from '../one/datastores.ts';
import { OpenNebulaError, UnsupportedError } from '../report/errors.ts';
import type { Delivery } from '../restore/delivery.ts';
import type { ImagePlan } from '../restore/image-plan.ts';
import { stagingOwner } from '../restore/staging-folder.ts';
import type { JournalEntry } from '../run/journal.ts';
import { isThisMachine } from '../run/local-host.ts';
import type { Run } from '../run/run.ts';
import { findDownloader, tryToFetch } from './fetch-trial.ts';
import { makeTicket, ticketUrl } from './ticket.ts';

export interface TicketDeliveryDeps {
  readonly bundle: Bundle;
  /** A path, or [user@]host:path. */
  readonly location: string;
  readonly one: OneClient;
  readonly run: Pick<Run, 'journal' | 'log' | 'runnerAt' | 'datastoreLocation'>;
  /** Where the driver looks for tickets. */
  readonly stateFolder: string;
  /** $ONE_LOCATION. */
  readonly oneLocation: string | undefined;
}

interface Prepared {
  readonly ticket: string;
  readonly path: string;
  readonly entry: JournalEntry;
  readonly backupDatastore: Datastore;
}

/** `prepare` throws UnsupportedError when OpenNebula could not fetch the disks, and says why. */
export function ticketDelivery(deps: TicketDeliveryDeps): Delivery {
  const { run } = deps;
  let prepared: Prepared | undefined;
  const close = async (): Promise<void> => {
    if (!prepared) return;
    const { path, entry } = prepared;
    prepared = undefined;
    await rm(path, { force: true });
    await entry.done();
  };
  return {
    waitsForImages: true,
    async check() {
      await stagingOwner(run.datastoreLocation);
    },
    async prepare(images) {
      const downloader = await findDownloader(deps.oneLocation);
      const backupDatastore = await requireFetching(images, deps);
      prepared = { ...(await ticketFor(images, deps)), backupDatastore };
      const [first] = images.keys();
      if (!first) return;
      try {
        await tryToFetch(address(prepared, first), {
          runner: run.runnerAt(undefined),
          owner: await stagingOwner(run.datastoreLocation),
          oneLocation: deps.oneLocation,
          downloader,
        });
      } catch (error) {
        await close();
        throw error;
      }
    },
    hasRoomFor: () => Promise.resolve(true),
    deliver(plan) {
      if (!prepared) throw new Error('a disk is delivered before there is a ticket');
      if (plan.source.size === 0) {
        run.log.warn(
          `disk ${plan.disk.id} has 0 bytes, which OpenNebula does not accept as an image; it is registered with one sector of zeros`,
        );
      }
      return Promise.resolve({
        path: address(prepared, plan),
        fromBackupDatastore: prepared.backupDatastore.id,
      });
    },
    drop: () => Promise.resolve(),
    explained,
    close,
  };
}

function address({ ticket }: Prepared, { disk }: ImagePlan): string {
  return ticketUrl({ ticket, diskId: disk.id, form: 'image' });
}

/** @returns a backup datastore whose driver oned asks for the sizes. @throws UnsupportedError, OpenNebulaError */
async function requireFetching(
  images: ReadonlyMap<ImagePlan, Datastore>,
  { bundle, one }: TicketDeliveryDeps,
): Promise<Datastore> {
  if (!bundle.manifest) {
    // The staged file of such a disk is checked before OpenNebula gets it.
    throw new UnsupportedError(
      `${bundle.name} has no checksums for its disks, so they are looked at first`,
    );
  }
  const other = [...images.values()].find(({ downloadsImages }) => !downloadsImages);
  if (other) {
    throw new UnsupportedError(
      `datastore ${other.id} (${other.name}) has a driver (DS_MAD ${other.dsMad}) that may not fetch images with OpenNebula's downloader.sh`,
    );
  }
  const host = new URL(one.endpoint).hostname.replace(/^\[(.*)\]$/, '$1');
  if (!(await isThisMachine(host))) {
    throw new UnsupportedError(`oned is on ${host}, and this is another machine`);
  }
  const [found] = await backupDatastoresOf(one, 'onevmdump');
  if (found) return found;
  throw new UnsupportedError(
    'this user sees no backup datastore of DS_MAD onevmdump, whose driver OpenNebula would ask for the sizes',
  );
}

async function ticketFor(
  images: ReadonlyMap<ImagePlan, Datastore>,
  { bundle, location, run, stateFolder }: TicketDeliveryDeps,
) {
  const { host, path } = parseBundleAddress(location);
  const facts = {
    bundle: host ? location : resolve(path),
    bundleId: bundle.about?.id ?? '',
    disks: [...images.keys()].map(({ disk }) => disk.id),
  };
  return makeTicket(stateFolder, facts, run.journal);
}

/** Neither a full datastore nor a refusal has to do with the delivery. */
function explained(error: unknown): unknown {
  if (!(error instanceof OpenNebulaError)) return error;
  const fetched = /could not take over image|Cannot parse image SIZE/.test(error.message);
  if (!fetched) return error;
  return new OpenNebulaError(
    `${error.message}; OpenNebula fetched the disk from the bundle itself: to write the disks to the staging folder first, restore with --delivery staged`,
    { oneCode: error.oneCode, code: 'opennebula-failed', cause: error },
  );
}
