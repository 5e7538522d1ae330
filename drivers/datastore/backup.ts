// backup host:folder disk:disk:... deploy_id job_id vm_id datastore_id
// stdin: <DS_DRIVER_ACTION_DATA> with DATASTORE and VM, plain. stdout: ID SIZE_MB FORMAT.
import { dirname, join } from 'node:path';
import { runAction } from '../../lib/datastore/action.ts';
import { backupVm } from '../../lib/backup/backup.ts';
import { parseBackupRequest } from '../../lib/backup/backup-request.ts';
import { disksHost } from '../../lib/backup/disks-host.ts';
import { backupBasePath } from '../../lib/config/datastore-conf.ts';
import { readStdin } from '../../lib/xml/stdin.ts';
import { silent } from '../../lib/report/progress.ts';
import { stateFolder } from '../../lib/session/state-folder.ts';
import { withRun } from '../../lib/session/with-run.ts';

void runAction('backup', async ({ args, log, signal, config: load }) => {
  const request = parseBackupRequest(args, await readStdin(process.stdin));
  const { remote, config } = await disksHost(request, await load());
  // remotes/datastore/onevmdump/backup
  const remotes = join(dirname(process.argv[1] ?? ''), '../..');
  const basePath = await backupBasePath(remotes);
  const folder = await stateFolder(config.stateDir, process.env);
  return await withRun(
    { config, action: 'backup', vmId: request.vmId, remote, log, progress: silent, signal },
    (run) => backupVm(request, { config, basePath, stateFolder: folder }, run),
  );
});
