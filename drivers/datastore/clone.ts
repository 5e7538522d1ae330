// clone: refused.
import { refuseAction } from '../../lib/datastore/action.ts';

void refuseAction(
  'clone',
  'a backup is not copied from one datastore to another; restore it and back it up again',
);
