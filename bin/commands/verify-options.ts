// The description of `onevmdump verify`.
import { bundleArgument } from './bundle-argument.ts';
import type { CommandDescription } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

export const verifyDescription = {
  name: 'verify',
  arguments: [bundleArgument],
  usage: '<bundle>',
  summary: 'Read all of a bundle and check it',
  details: [
    'Reads every byte, compares every checksum, and checks that the VM in the bundle can be restored. If the bundle is damaged, the exit code is 5 and the message says where.',
  ],
  options: {},
  examples: [{ command: 'onevmdump verify bundle.tar.gz', help: 'check one bundle' }],
} as const satisfies CommandDescription;

export type VerifyOptions = GlobalOptions & { readonly bundle: string };
