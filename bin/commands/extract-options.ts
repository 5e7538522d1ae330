// The description of `onevmdump extract`.
import { bundleArgument } from './bundle-argument.ts';
import type { CommandDescription, OptionsOf } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

export const extractDescription = {
  name: 'extract',
  arguments: [bundleArgument],
  usage: '<bundle> --disk <id> [options]',
  summary: "Write one disk of a bundle, or the VM's XML, into a file; OpenNebula is not needed",
  details: [
    'The file has its name only when it is complete. Holes of the disk are holes in the file.',
    'Prints the path of the file.',
  ],
  options: {
    disk: { argument: 'ID', help: 'The disk to extract' },
    'vm-xml': { help: "Extract the VM's XML instead; without --output it is printed" },
    output: {
      alias: 'o',
      argument: 'FILE',
      help: 'The file to write',
      default: 'disk.<id>.<format>',
    },
    format: {
      choices: ['raw', 'qcow2'],
      help: 'Convert the disk to this format, with qemu-img',
      default: 'as in the bundle',
    },
    force: { help: 'Replace the file if it exists' },
    salvage: {
      help: 'Extract also from a bundle that lost its end, if the disk is complete (exit code 7)',
    },
  },
  examples: [
    { command: 'onevmdump extract bundle.tar.gz --disk 0 -o web.qcow2', help: 'one disk' },
    {
      command: 'onevmdump extract store:/backups/bundle.tar.gz --vm-xml',
      help: "a remote bundle's XML",
    },
  ],
} as const satisfies CommandDescription;

export type ExtractOptions = GlobalOptions &
  OptionsOf<(typeof extractDescription)['options']> & { readonly bundle: string };
