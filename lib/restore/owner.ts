// The owner of what a restore makes: the user who restores, unless an administrator names another with --owner.
import { findGroup, findUser, getAccount, type Account } from '../one/accounts.ts';
import type { OneClient } from '../one/client.ts';
import { changeOwner, type OwnedKind } from '../one/ownership.ts';
import { UsageError } from '../report/errors.ts';

/**
 * The account that will own the new objects.
 * @param requested `USER[:GROUP]`, names or ids; undefined: the caller's own account
 * @throws UsageError when there is no such user or group, or the caller is not an administrator
 */
export async function ownerFor(
  requested: string | undefined,
  caller: Account,
  one: OneClient,
): Promise<Account> {
  if (requested === undefined) return caller;
  const [, user = '', group] = /^([^:]+)(?::([^:]+))?$/.exec(requested) ?? [];
  if (user === '') {
    throw new UsageError(`--owner takes USER or USER:GROUP, not ${JSON.stringify(requested)}`);
  }
  if (!caller.isAdmin) {
    throw new UsageError(
      `only administrators may use --owner, and ${caller.name} is not one: restore with the ONE_AUTH of the user who will own everything`,
    );
  }
  const account = await getAccount(one, (await findUser(one, user)).id);
  return group === undefined ? account : { ...account, group: await findGroup(one, group) };
}

/** Makes `owner` the owner of the objects. @throws OpenNebulaError */
export async function giveTo(
  owner: Account,
  objects: readonly { readonly kind: OwnedKind; readonly id: number }[],
  one: OneClient,
): Promise<void> {
  for (const object of objects) {
    await changeOwner(one, object, { userId: owner.id, groupId: owner.group.id });
  }
}
