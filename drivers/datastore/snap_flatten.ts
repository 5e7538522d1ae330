// snap_flatten: refused.
import { refuseAction } from '../../lib/datastore/action.ts';

void refuseAction('snap_flatten', 'backups have no snapshots');
