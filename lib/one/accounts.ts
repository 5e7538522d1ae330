// one.user.*, one.group.*: the user who calls, what they may use, and other users and groups.
import { child, childrenOf, textIn, type XmlElement } from '../xml/xml.ts';
import { UsageError } from '../report/errors.ts';
import { askXml, numberIn } from './answers.ts';
import type { OneClient } from './client.ts';

/** The user oneadmin, and the group whose users have the same rights (UserPool.h, GroupPool.h). */
const oneadminId = 0;
const adminGroupId = 0;

/** A user or a group. */
export interface Principal {
  readonly id: number;
  readonly name: string;
}

export interface Account extends Principal {
  /** The primary group, to which new objects belong. */
  readonly group: Principal;
  /** Whether oned lets this user do everything (RequestAttributes::is_admin). */
  readonly isAdmin: boolean;
  /** The whole USER element, which holds its quotas. */
  readonly xml: XmlElement;
}

/** Returns the user of the session. @throws OpenNebulaError */
export async function ownAccount(client: OneClient): Promise<Account> {
  return toAccount(await askXml(client, 'USER', 'one.user.info', -1, false));
}

/** @throws OpenNebulaError; code 1024 when there is none with this id */
export async function getAccount(client: OneClient, id: number): Promise<Account> {
  return toAccount(await askXml(client, 'USER', 'one.user.info', id, false));
}

/** The GROUP element with its quotas. @throws OpenNebulaError */
export async function getGroup(client: OneClient, id: number): Promise<XmlElement> {
  return askXml(client, 'GROUP', 'one.group.info', id, false);
}

/** Finds a user by name or id, as a person wrote it. @throws UsageError when there is none */
export async function findUser(client: OneClient, nameOrId: string): Promise<Principal> {
  const pool = await askXml(client, 'USER_POOL', 'one.userpool.info');
  return pick(childrenOf(pool, 'USER'), 'user', nameOrId);
}

/** Finds a group by name or id. @throws UsageError when there is none */
export async function findGroup(client: OneClient, nameOrId: string): Promise<Principal> {
  const pool = await askXml(client, 'GROUP_POOL', 'one.grouppool.info');
  return pick(childrenOf(pool, 'GROUP'), 'group', nameOrId);
}

function pick(all: readonly XmlElement[], what: string, nameOrId: string): Principal {
  const found =
    all.find((principal) => textIn(principal, 'NAME') === nameOrId) ??
    all.find((principal) => textIn(principal, 'ID') === nameOrId);
  if (found) return { id: numberIn(found, 'ID'), name: textIn(found, 'NAME') };
  throw new UsageError(`OpenNebula has no ${what} ${JSON.stringify(nameOrId)}`);
}

function toAccount(xml: XmlElement): Account {
  const id = numberIn(xml, 'ID');
  const group = { id: numberIn(xml, 'GID'), name: textIn(xml, 'GNAME') };
  const groups = child(xml, 'GROUPS')?.children.map(({ text }) => Number(text)) ?? [];
  const isAdmin = id === oneadminId || [group.id, ...groups].includes(adminGroupId);
  return { id, name: textIn(xml, 'NAME'), group, isAdmin, xml };
}
