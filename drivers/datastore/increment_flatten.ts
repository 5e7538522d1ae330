// increment_flatten: refused.
import { refuseAction } from '../../lib/datastore/action.ts';

void refuseAction('increment_flatten', 'every backup is a full one');
