// monitor request_id; stdin: base64 of DATASTORE. stdout: USED_MB=, TOTAL_MB= and FREE_MB=.
import { decodeActionData } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { spaceOf } from '../../lib/datastore/housekeeping.ts';
import { readStdin } from '../../lib/input/stdin.ts';
import { localRunner } from '../../lib/run/local-runner.ts';

void runAction('monitor', async ({ args, log, signal }) => {
  const data = decodeActionData(args, await readStdin(process.stdin));
  const space = await spaceOf(backupDatastore(data), localRunner(log, signal));
  return `USED_MB=${space.usedMb}\nTOTAL_MB=${space.totalMb}\nFREE_MB=${space.freeMb}`;
});
