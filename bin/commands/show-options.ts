// The description of `onevmdump show`.
import { bundleArgument } from './bundle-argument.ts';
import type { CommandDescription, OptionsOf } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

export const showDescription = {
  name: 'show',
  arguments: [bundleArgument],
  usage: '<bundle>',
  summary: 'Show what is in a bundle',
  details: [
    'Shows the VM, when and how consistently it was exported, and its disks. Reads a few kilobytes of a bundle that has an index, and all of one that has none.',
  ],
  options: {
    xml: { help: "Print the VM's XML instead, byte for byte", excludes: 'json' },
  },
  examples: [
    { command: 'onevmdump show bundle.tar.gz', help: 'the VM and its disks' },
    { command: 'onevmdump show bundle.tar.gz --xml', help: "the VM's XML" },
  ],
} as const satisfies CommandDescription;

export type ShowOptions = GlobalOptions &
  OptionsOf<(typeof showDescription)['options']> & { readonly bundle: string };
