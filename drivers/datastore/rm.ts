// rm request_id; stdin: base64 of IMAGE (SOURCE) and DATASTORE. stdout: nothing.
import { decodeActionData, requiredAt } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { onBundleHost } from '../../lib/datastore/bundle-host.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { removeBundle } from '../../lib/datastore/housekeeping.ts';
import { readStdin } from '../../lib/xml/stdin.ts';

void runAction('rm', async (context) => {
  const data = decodeActionData(context.args, await readStdin(process.stdin));
  const name = requiredAt(data, 'IMAGE/SOURCE');
  const datastore = backupDatastore(data);
  await onBundleHost(datastore, context, (runner) => removeBundle(datastore, name, runner));
  return '';
});
