// The description of `onevmdump list`.
import type { CommandDescription } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

export const listDescription = {
  name: 'list',
  arguments: [
    {
      name: 'folder',
      required: true,
      help: 'The folder; on another machine: [user@]host:path',
    },
  ],
  usage: '<folder>',
  summary: 'List the bundles in a folder',
  details: [
    'Reads only the manifest of each bundle, a few kilobytes. Files whose names end in .tar, .tar.gz, .tgz or .tar.zst are listed; of a bundle that cannot be read, the reason is shown.',
  ],
  options: {},
  examples: [
    { command: 'onevmdump list /backups', help: 'a table, one line per bundle' },
    { command: 'onevmdump list store:/backups --json', help: 'on another machine, as JSON' },
  ],
} as const satisfies CommandDescription;

export type ListOptions = GlobalOptions & { readonly folder: string };
