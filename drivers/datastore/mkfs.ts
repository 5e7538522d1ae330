// mkfs: refused.
import { refuseAction } from '../../lib/datastore/action.ts';

void refuseAction(
  'mkfs',
  'they hold bundles, which OpenNebula makes as backups; make the image in an image datastore',
);
