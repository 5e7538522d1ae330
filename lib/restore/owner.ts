// Who owns what a restore makes: the user who restores, unless an administrator says --owner.
import { findGroup, findUser, getAccount, type Account } from '../one/accounts.ts';
import type { OneClient } from '../one/client.ts';
import { changeOwner, type OwnedKind } from '../one/ownership.ts';
import { UsageError } from '../report/errors.ts';

/**
 * The account that the new objects go to.
 * @param wanted `USER[:GROUP]`, names or ids; undefined: the caller's own
 * @throws UsageError when there is no such user or group, or the caller is not an administrator
 */
export async function ownerFor(
  wanted: string | undefined,
  caller: Account,
  one: OneClient,
): Promise<Account> {
  if (wanted === undefined) return caller;
  const [, user = '', group] = /^([^:]+)(?::([^:]+))?$/.exec(wanted) ?? [];
  if (user === '') {
    throw new UsageError(`--owner takes USER or USER:GROUP, not ${JSON.stringify(wanted)}`);
  }
  if (!caller.isAdmin) {
    throw new UsageError(
      `--owner is for administrators, which ${caller.name} is not: restore with the ONE_AUTH of the user who shall own it`,
    );
  }
  const account = await getAccount(one, (await findUser(one, user)).id);
  return group === undefined ? account : { ...account, group: await findGroup(one, group) };
}

/** @throws OpenNebulaError */
export async function giveTo(
  owner: Account,
  objects: readonly { readonly kind: OwnedKind; readonly id: number }[],
  one: OneClient,
): Promise<void> {
  for (const object of objects) {
    await changeOwner(one, object, { userId: owner.id, groupId: owner.group.id });
  }
}
