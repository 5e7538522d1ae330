// stat request_id; stdin: base64 of IMAGE (PATH) and DATASTORE. stdout: the disk's size in MiB.
// oned runs it when an image is registered from a backup.
import { decodeActionData, requiredAt } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { onBundleHost } from '../../lib/datastore/bundle-host.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { parseDiskUrl } from '../../lib/datastore/disk-url.ts';
import { inMb, openBackup } from '../../lib/datastore/open-bundle.ts';
import { diskOf, virtualSizeOf } from '../../lib/restore/restorable.ts';
import { readStdin } from '../../lib/xml/stdin.ts';
import { findSession } from '../../lib/one/credentials.ts';
import { UsageError } from '../../lib/report/errors.ts';

void runAction('stat', async (context) => {
  const data = decodeActionData(context.args, await readStdin(process.stdin));
  const datastore = backupDatastore(data);
  const secret = await findSession(process.env);
  const address = parseDiskUrl(requiredAt(data, 'IMAGE/PATH'), secret);
  if (address.datastoreId !== datastore.id) {
    throw new UsageError(`the disk is in datastore ${address.datastoreId}, not in ${datastore.id}`);
  }
  return await onBundleHost(datastore, context, async (runner) => {
    const bundle = await openBackup(datastore, address.bundle, runner, context);
    try {
      return String(inMb(await virtualSizeOf(bundle, diskOf(bundle, address.diskId), 'restored')));
    } finally {
      await bundle.close();
    }
  });
});
