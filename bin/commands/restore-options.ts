// The description of `onevmdump restore`; docs/restore.md says more.
import { bundleArgument } from './bundle-argument.ts';
import type { CommandDescription, OptionsOf } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

const what = 'What is restored:';
const made = 'The template and the VM:';
const nics = 'NICs:';
const place = 'Datastores and OpenNebula:';

export const restoreDescription = {
  name: 'restore',
  arguments: [bundleArgument],
  usage: '[options] <bundle>',
  summary: 'Register the disks of a bundle as images, and a template for the VM',
  details: [
    'Everything is checked before data moves: the bundle, the rights and quotas of the user, the datastores and the networks. If the restore fails or is interrupted, the images and the template it made are removed.',
    'Prints the id of the VM (with --instantiate), of the template, or of the images (with --disk).',
  ],
  options: {
    disk: {
      argument: 'ID',
      repeatable: true,
      help: 'Register only the image of this disk, and no template',
      group: what,
    },
    salvage: {
      help: 'Restore every complete disk of a bundle that lost its end (exit code 7)',
      group: what,
    },
    volatile: {
      choices: ['image', 'fresh'],
      initial: 'image',
      help: 'Volatile disks become images with their data, or new empty disks; swap is always new',
      group: what,
    },
    name: {
      alias: 'n',
      argument: 'NAME',
      help: 'Name of the template and the VM; images are called NAME-disk-ID',
      default: 'backup-<vm id>-<time of the export>',
      group: made,
    },
    instantiate: { help: 'Also instantiate the template', group: made },
    owner: {
      argument: 'USER[:GROUP]',
      help: 'Give images, template and VM to this user; for administrators',
      default: 'the user who restores',
      group: made,
    },
    'no-restricted': {
      help: 'Leave out attributes that reach the host, such as RAW, EMULATOR, PCI and CONTEXT/FILES: for bundles from others',
      group: made,
    },
    'restore-nics': { help: 'Keep the NICs, with the same networks and addresses', group: nics },
    'no-ip': { help: 'Same networks, new addresses', needs: 'restore-nics', group: nics },
    'map-network': {
      argument: 'OLD=NEW',
      repeatable: true,
      help: 'Put NICs of network OLD into network NEW (ids or names)',
      needs: 'restore-nics',
      group: nics,
    },
    datastore: {
      argument: 'ID|NAME',
      help: 'Image datastore for all disks',
      default: 'where each disk came from',
      excludes: 'map-datastore',
      group: place,
    },
    'map-datastore': {
      argument: 'OLD=NEW',
      repeatable: true,
      help: 'Put disks that came from datastore OLD into NEW (ids or names)',
      group: place,
    },
    delivery: {
      choices: ['auto', 'address', 'staged'],
      help: 'How OpenNebula gets the disks: address (its datastore driver fetches them from the bundle), staged (from files in the staging folder) or auto (address if it can)',
      default: 'auto',
      group: place,
    },
    'staging-dir': {
      argument: 'FOLDER',
      help: "Folder from which OpenNebula copies staged disks; it must be in the datastore's SAFE_DIRS",
      default: '/var/tmp/onevmdump',
      group: place,
    },
    'no-check-capacity': {
      help: 'Restore even if the datastore has less free space than the virtual size of the disks',
      group: place,
    },
    endpoint: { argument: 'URL', help: 'Address of the XML-RPC API of OpenNebula', group: place },
  },
  examples: [
    {
      command: 'onevmdump restore /backups/onevmdump-8-1795404000.tar.gz --instantiate',
      help: 'a running copy of VM 8',
    },
    {
      command: 'onevmdump restore bundle.tar.gz --disk 1 --datastore 101',
      help: 'one disk, into another datastore',
    },
  ],
} as const satisfies CommandDescription;

export type RestoreOptions = GlobalOptions &
  OptionsOf<(typeof restoreDescription)['options']> & { readonly bundle: string };
