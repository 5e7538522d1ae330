// Opens the bundle of a disk's address: one of a backup datastore (disk-url.ts), or one that lies anywhere (ticket.ts).
import type { OpenedBundle } from '../bundle/read/opened-bundle.ts';
import { openBundle } from '../bundle/read/reader.ts';
import { findSession } from '../one/credentials.ts';
import { BundleError } from '../report/errors.ts';
import { stateFolder } from '../session/state-folder.ts';
import { withBundleSource } from '../session/with-bundle.ts';
import type { ActionContext } from './action.ts';
import type { BackupDatastore } from './backup-datastore.ts';
import { onBundleHost } from './bundle-host.ts';
import { parseDiskUrl, type DiskForm } from './disk-url.ts';
import { openBackup } from './open-bundle.ts';
import { isTicketUrl, parseTicketUrl, readTicket } from './ticket.ts';

export interface AddressedDisk {
  readonly bundle: OpenedBundle;
  readonly diskId: number;
  readonly form: DiskForm;
}

/**
 * Calls `body` with the bundle and the disk that `url` names, and closes the bundle.
 * @param datastoreOf returns the datastore with this id. It is not called for bundles that lie elsewhere
 * @throws UsageError when the address is not valid any more or never was, BundleError, CommandError, ConnectionError
 */
export async function withAddressedDisk<T>(
  url: string,
  context: ActionContext,
  datastoreOf: (id: number) => Promise<BackupDatastore> | BackupDatastore,
  body: (disk: AddressedDisk) => Promise<T>,
): Promise<T> {
  if (isTicketUrl(url)) return withTicketDisk(url, context, body);
  const address = parseDiskUrl(url, await findSession(process.env));
  const datastore = await datastoreOf(address.datastoreId);
  return onBundleHost(datastore, context, async (runner) =>
    closing(await openBackup(datastore, address.bundle, runner, context), (bundle) =>
      body({ bundle, diskId: address.diskId, form: address.form }),
    ),
  );
}

async function withTicketDisk<T>(
  url: string,
  { log, signal, config: load }: ActionContext,
  body: (disk: AddressedDisk) => Promise<T>,
): Promise<T> {
  const address = parseTicketUrl(url);
  const config = await load();
  const folder = await stateFolder(config.stateDir, process.env);
  const ticket = await readTicket(folder, address);
  return withBundleSource(ticket.bundle, { config, log, signal }, async (source) =>
    closing(await openBundle(source, { log, signal }), (bundle) => {
      if (bundle.about?.id !== ticket.bundleId) {
        throw new BundleError(
          `${ticket.bundle} is not the bundle any more whose restore has begun: it was replaced`,
        );
      }
      return body({ bundle, diskId: address.diskId, form: address.form });
    }),
  );
}

async function closing<T>(
  bundle: OpenedBundle,
  body: (bundle: OpenedBundle) => Promise<T>,
): Promise<T> {
  try {
    return await body(bundle);
  } finally {
    await bundle.close();
  }
}
