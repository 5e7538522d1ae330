// ls -i increment; stdin: <DS_DRIVER_ACTION_DATA> with DATASTORE, VM and IMAGE, plain.
// stdout: {"<disk id>":"<address>", ...}
import { parseActionData } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { listDisks } from '../../lib/datastore/list-disks.ts';
import { readStdin } from '../../lib/xml/stdin.ts';
import { findSession } from '../../lib/one/credentials.ts';

void runAction('ls', async (context) => {
  const data = parseActionData(await readStdin(process.stdin));
  return await listDisks(data, await findSession(process.env), context);
});
