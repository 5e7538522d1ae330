// The description of `onevmdump diff`.
import { bundleArgument } from './bundle-argument.ts';
import type { CommandDescription } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

export const diffDescription = {
  name: 'diff',
  arguments: [bundleArgument, { ...bundleArgument, name: 'other', help: 'Another bundle' }],
  usage: '<bundle> <other>',
  summary: 'Say which parts of which disks differ between two bundles',
  details: [
    'Compares the hashes of the regions (1 MiB; more for disks above 1 TiB) of all disks by their DISK_ID. Nothing is unpacked, so it takes seconds, whatever the size of the disks, and the storage, the format and the compression do not matter: the same content is the same.',
    'The exit code is 0 also if the bundles differ; --json says it in the field "same".',
  ],
  options: {},
  examples: [
    {
      command: 'onevmdump diff monday.tar.gz tuesday.tar.gz',
      help: 'what a guest has changed in a day',
    },
  ],
} as const satisfies CommandDescription;

export type DiffOptions = GlobalOptions & { readonly bundle: string; readonly other: string };
