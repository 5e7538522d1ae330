// backup_cancel host:folder deploy_id; stdin: empty up to 7.0.0, then the VM. stdout: nothing.
import { runAction } from '../../lib/datastore/action.ts';
import { cancelBackup } from '../../lib/backup/cancel.ts';
import { parseHostFolder } from '../../lib/backup/backup-request.ts';
import { UsageError } from '../../lib/report/errors.ts';

/** An undo may have to wait for a guest agent. */
const limitMs = 10 * 60 * 1000;

void runAction('backup_cancel', async ({ args }) => {
  const [hostFolder = '', deployId = ''] = args;
  parseHostFolder(hostFolder);
  if (deployId === '') throw new UsageError('expected host:folder deploy_id');
  await cancelBackup({ hostFolder, deployId }, limitMs);
  return '';
});
