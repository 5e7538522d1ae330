// snap_revert: refused.
import { refuseAction } from '../../lib/datastore/action.ts';

void refuseAction('snap_revert', 'backups have no snapshots');
