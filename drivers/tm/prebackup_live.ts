// prebackup_live host:folder disk:disk:... deploy_id job_id vm_id datastore_id (no job_id in OpenNebula 6.6)
// stdin: <VM>, plain. stdout: nothing.
import { runTmAction } from '../../lib/backup/tm-action.ts';
import { prebackup } from '../../lib/backup/prebackup.ts';

void runTmAction('prebackup_live', prebackup);
