// The description of `onevmdump cleanup`.
import type { CommandDescription, OptionsOf } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

export const cleanupDescription = {
  name: 'cleanup',
  usage: '[options]',
  summary: 'Undo what killed exports, restores and extracts left behind',
  details: [
    'Every run records how to undo a change before it makes it. When a run was killed before it could undo its changes (SIGKILL, a power cut), cleanup does so. It never touches what a run that still lives has made, nor what OpenNebula needs for a backup that it is still making.',
    'Exit code 1 says that something is still left; a warning says what.',
  ],
  options: {
    vm: { argument: 'ID', help: 'Undo only what runs for this VM left' },
    'dry-run': { help: 'Change nothing; show what is left and how to remove it by hand' },
    gone: {
      argument: 'NAME',
      help: 'Also undo what runs left on this machine or container, which will never come back; NAME is what cleanup prints',
    },
  },
  examples: [
    {
      command: 'onevmdump cleanup --dry-run',
      help: 'show what is left, and how to remove it by hand',
    },
  ],
} as const satisfies CommandDescription;

export type CleanupOptions = GlobalOptions & OptionsOf<(typeof cleanupDescription)['options']>;
