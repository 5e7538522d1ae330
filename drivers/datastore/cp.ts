// cp: refused.
import { refuseAction } from '../../lib/datastore/action.ts';

void refuseAction(
  'cp',
  'they hold bundles, which OpenNebula makes as backups; register the image in an image datastore',
);
