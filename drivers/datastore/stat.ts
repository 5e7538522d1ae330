// stat request_id; stdin: base64 of IMAGE (PATH) and DATASTORE. stdout: the disk's size in MiB.
// oned runs it when an image is registered from a bundle.
import { decodeActionData, requiredAt } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { withAddressedDisk } from '../../lib/datastore/addressed-bundle.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { inMb } from '../../lib/datastore/open-bundle.ts';
import { diskOf, virtualSizeOf } from '../../lib/restore/restorable.ts';
import { readStdin } from '../../lib/xml/stdin.ts';
import { UsageError } from '../../lib/report/errors.ts';

void runAction('stat', async (context) => {
  const data = decodeActionData(context.args, await readStdin(process.stdin));
  const url = requiredAt(data, 'IMAGE/PATH');
  return withAddressedDisk(url, context, datastoreWith, async ({ bundle, diskId }) => {
    const size = await virtualSizeOf(bundle, diskOf(bundle, diskId), 'restored');
    // An empty disk is delivered as one sector.
    return String(Math.max(1, inMb(size)));
  });

  function datastoreWith(id: number) {
    const datastore = backupDatastore(data);
    if (id === datastore.id) return datastore;
    throw new UsageError(`the disk is in datastore ${id}, not in ${datastore.id}`);
  }
});
