// rm request_id; stdin: base64 of IMAGE (SOURCE) and DATASTORE. stdout: nothing.
import { decodeActionData, requiredAt } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { removeBundle } from '../../lib/datastore/housekeeping.ts';
import { readStdin } from '../../lib/input/stdin.ts';
import { localRunner } from '../../lib/run/local-runner.ts';

void runAction('rm', async ({ args, log, signal }) => {
  const data = decodeActionData(args, await readStdin(process.stdin));
  const name = requiredAt(data, 'IMAGE/SOURCE');
  await removeBundle(backupDatastore(data), name, localRunner(log, signal));
  return '';
});
