// monitor request_id; stdin: base64 of DATASTORE. stdout: USED_MB=, TOTAL_MB= and FREE_MB=.
import { decodeActionData } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { onBundleHost } from '../../lib/datastore/bundle-host.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { spaceOf } from '../../lib/datastore/housekeeping.ts';
import { readStdin } from '../../lib/xml/stdin.ts';

void runAction('monitor', async (context) => {
  const datastore = backupDatastore(decodeActionData(context.args, await readStdin(process.stdin)));
  const space = await onBundleHost(datastore, context, (runner) => spaceOf(datastore, runner));
  return `USED_MB=${space.usedMb}\nTOTAL_MB=${space.totalMb}\nFREE_MB=${space.freeMb}`;
});
