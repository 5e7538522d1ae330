// The options every command has.
import type { OptionsOf, OptionTable } from './description.ts';

export const globalOptions = {
  debug: { alias: 'D', help: 'Log the commands that are run, and the stacks of errors' },
  json: { help: 'Print the result, or the failure, as one JSON object' },
  config: {
    argument: 'FILE',
    help: 'Read the settings from this file',
    default: '/etc/one/onevmdump.conf',
  },
} as const satisfies OptionTable;

export type GlobalOptions = OptionsOf<typeof globalOptions>;
