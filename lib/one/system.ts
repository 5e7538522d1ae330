// Facts about oned itself.
import type { OneClient } from './client.ts';

/** Returns oned's version, such as `6.10.5`. */
export async function oneVersion(client: OneClient): Promise<string> {
  return client.text('one.system.version');
}
