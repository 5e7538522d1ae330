// restore request_id; stdin: base64 of IMAGE, DATASTORE, DESTINATION_DS_ID and TEMPLATE (USERNAME, and
// of the user: NAME, NO_NIC, NO_IP, DISK_ID, INCREMENT_ID). stdout: TEMPLATE_ID IMAGE_ID ...
import { decodeActionData, requiredAt } from '../../lib/datastore/action-data.ts';
import { runAction } from '../../lib/datastore/action.ts';
import { restoreBackup } from '../../lib/datastore/restore.ts';
import { readStdin } from '../../lib/xml/stdin.ts';
import { createOneClient } from '../../lib/one/client.ts';
import { findEndpoint, findSession } from '../../lib/one/credentials.ts';
import { sessionAs } from '../../lib/one/login-token.ts';
import { silent } from '../../lib/report/progress.ts';
import { withRun } from '../../lib/session/with-run.ts';

/** oned waits 180 seconds for a restore, including the undo of a failed one. */
const undoWithinMs = 175_000;

void runAction('restore', async ({ args, log, signal, config: load }) => {
  const started = Date.now();
  const data = decodeActionData(args, await readStdin(process.stdin));
  const config = await load();
  const one = createOneClient({
    endpoint: await findEndpoint(undefined, process.env),
    session: await sessionAs(requiredAt(data, 'TEMPLATE/USERNAME'), process.env),
    timeoutMs: config.xmlrpcTimeout * 1000,
    log,
    signal,
  });
  const secret = await findSession(process.env);
  return await withRun(
    {
      ...{ config, action: 'restore', vmId: undefined, log, progress: silent, signal },
      imageWaitMs: () => Math.max(0, started + undoWithinMs - Date.now()),
    },
    (run) => restoreBackup(data, { one, secret }, run),
  );
});
