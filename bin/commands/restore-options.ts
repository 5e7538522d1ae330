// The options of `onevmdump restore`: docs/restore.md says what they are good for.
import type { Argv } from 'yargs';
import type { GlobalOptions } from './command.ts';

export interface RestoreOptions extends GlobalOptions {
  readonly bundle: string;
  readonly instantiate: boolean;
  readonly name: string | undefined;
  readonly restoreNics: boolean;
  readonly noIp: boolean;
  readonly datastore: string | undefined;
  readonly mapDatastore: readonly string[] | undefined;
  readonly mapNetwork: readonly string[] | undefined;
  readonly owner: string | undefined;
  readonly noRestricted: boolean;
  readonly disk: readonly string[] | undefined;
  readonly salvage: boolean;
  readonly volatile: 'image' | 'fresh';
  readonly stagingDir: string | undefined;
  readonly noCheckCapacity: boolean;
  readonly endpoint: string | undefined;
}

/** Declares them; they arrive as `RestoreOptions`. */
export function restoreOptions(argv: Argv): Argv {
  return argv
    .usage('$0 restore [options] <bundle>')
    .positional('bundle', {
      type: 'string',
      describe: 'The bundle; [user@]host:path on another machine',
      demandOption: true,
    })
    .options({
      instantiate: {
        type: 'boolean',
        default: false,
        describe: 'Also instantiate the template',
      },
      name: {
        alias: 'n',
        type: 'string',
        requiresArg: true,
        describe: 'Name of the template, and of the images before "-disk-<id>"',
        defaultDescription: 'backup-<vm id>-<time of the export>',
      },
      'restore-nics': {
        type: 'boolean',
        default: false,
        describe: 'Keep the NICs: same networks, same addresses',
      },
      'no-ip': {
        type: 'boolean',
        default: false,
        describe: 'With --restore-nics: same networks, new addresses',
      },
      datastore: {
        type: 'string',
        requiresArg: true,
        describe: 'Image datastore (id or name) for all disks',
        defaultDescription: 'where each came from',
      },
      'map-datastore': {
        type: 'string',
        array: true,
        requiresArg: true,
        describe:
          'OLD=NEW: disks that came from datastore OLD go to NEW (ids or names; may be repeated)',
      },
      'map-network': {
        type: 'string',
        array: true,
        requiresArg: true,
        describe:
          'OLD=NEW: with --restore-nics, NICs of network OLD are put into NEW (ids or names; may be repeated)',
      },
      owner: {
        type: 'string',
        requiresArg: true,
        describe: 'USER[:GROUP] that images, template and VM are given to; for administrators',
        defaultDescription: 'the user who restores',
      },
      'no-restricted': {
        type: 'boolean',
        default: false,
        describe:
          'Leave out attributes that reach the host, such as RAW, EMULATOR, PCI and CONTEXT/FILES: for bundles from others',
      },
      disk: {
        type: 'string',
        array: true,
        requiresArg: true,
        describe: 'Register only the image of this disk (may be repeated), and no template',
      },
      salvage: {
        type: 'boolean',
        default: false,
        describe:
          'Restore what is left of a bundle that lost its end: every disk that is whole (exit code 7)',
      },
      volatile: {
        choices: ['image', 'fresh'],
        default: 'image',
        describe: 'Volatile disks: images with their data, or new empty disks (swap is always new)',
      },
      'staging-dir': {
        type: 'string',
        requiresArg: true,
        describe:
          "Where disks are written for OpenNebula to take; must lie in the datastore's SAFE_DIRS",
        defaultDescription: '/var/tmp/onevmdump',
      },
      'no-check-capacity': {
        type: 'boolean',
        default: false,
        describe:
          'Restore even if the datastore has less free space than the virtual size of the disks',
      },
      endpoint: {
        type: 'string',
        requiresArg: true,
        describe: 'URL of the OpenNebula XML-RPC API',
      },
    })
    .example(
      '$0 restore /backups/onevmdump-8-1795404000.tar.gz --instantiate',
      'a running copy of VM 8',
    )
    .example(
      '$0 restore bundle.tar.gz --disk 1 --datastore 101',
      'one disk, into another datastore',
    );
}
