// What oned says of itself and of its caller.
import { askXml, numberIn, textIn } from './answers.ts';
import type { OneClient } from './client.ts';

/** oned's version, such as `6.10.5`. */
export async function oneVersion(client: OneClient): Promise<string> {
  return client.text('one.system.version');
}

/** The user the session belongs to. */
export async function ownUser(
  client: OneClient,
): Promise<{ readonly id: number; readonly name: string }> {
  const user = await askXml(client, 'USER', 'one.user.info', -1, false);
  return { id: numberIn(user, 'ID'), name: textIn(user, 'NAME') };
}
