// The bundle that most commands take as their argument.
import type { ArgumentDescription } from './description.ts';

export const bundleArgument = {
  name: 'bundle',
  required: true,
  help: 'The bundle; on another machine: [user@]host:path',
} as const satisfies ArgumentDescription;
