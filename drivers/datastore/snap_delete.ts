// snap_delete: refused.
import { refuseAction } from '../../lib/datastore/action.ts';

void refuseAction('snap_delete', 'backups have no snapshots');
