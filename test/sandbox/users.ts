// Users, sessions and who may do what: the owner, or whom the permission bits let in, or oneadmin's
// group. ACL rules are not modelled; everyone may use datastores and networks, as a default
// installation's VDC lets them.
import { createDecipheriv, createHash } from 'node:crypto';
import { kinds, noSuch, unauthenticated, unauthorized } from './failure.ts';
import type { Kind } from './failure.ts';
import type { Quotas } from './quotas.ts';
import type { Params } from './protocol.ts';
import { cdata, Template } from './template.ts';

export interface User {
  readonly id: number;
  readonly name: string;
  readonly password: string;
  readonly gid: number;
  readonly gname: string;
  /** What CONTEXT takes from it as $USER[...], such as SSH_PUBLIC_KEY. */
  readonly template: Template;
  /** Without them nothing is limited. */
  quotas?: Quotas;
}

/** LOCKED as oned stores it: 1 use, 2 manage, 3 admin. */
export interface Lock {
  readonly level: number;
  readonly owner: number;
  /** Seconds since the epoch. */
  readonly time: number;
  readonly requestId: number;
}

/** What every object of oned's pools has. */
export interface Owned {
  readonly id: number;
  uid: number;
  gid: number;
  uname: string;
  gname: string;
  name: string;
  /** OWNER_U, _M, _A, GROUP_U, _M, _A, OTHER_U, _M, _A. */
  permissions: string;
  lock?: Lock | undefined;
}

export type Operation = 'USE' | 'MANAGE' | 'ADMIN';
const operations: readonly Operation[] = ['USE', 'MANAGE', 'ADMIN'];

export class Users {
  readonly list: User[] = [];
  /** Of `serveradmin`, the user of OpenNebula's services; undefined: there is none. */
  serverPassword: string | undefined;

  add(name: string, password: string, group?: 'oneadmin' | 'users'): User {
    const admins = (group ?? (name === 'oneadmin' ? 'oneadmin' : 'users')) === 'oneadmin';
    const user: User = {
      // 1 is serveradmin, which clients never use here.
      id: this.list.length === 0 ? 0 : this.list.length + 1,
      name,
      password,
      gid: admins ? 0 : 1,
      gname: admins ? 'oneadmin' : 'users',
      template: new Template(),
    };
    this.list.push(user);
    return user;
  }

  byId(id: number): User {
    const found = this.list.find((one) => one.id === id);
    if (!found) throw noSuch('user', id);
    return found;
  }

  byName(name: string): User | undefined {
    return this.list.find((one) => one.name === name);
  }

  /** The user of a session `name:password`. @throws Failure 256. */
  authenticate(params: Params): User {
    const session = params.string(0);
    const [server, target = '', token = ''] = session.split(':');
    if (server === 'serveradmin') return this.#actingAs(target, token);
    const colon = session.indexOf(':');
    const user = colon < 0 ? undefined : this.byName(session.slice(0, colon));
    if (user?.password !== session.slice(colon + 1)) throw unauthenticated();
    return user;
  }

  /** server_cipher_auth.rb: the token names server, user and end, encrypted with the server's password. */
  #actingAs(target: string, token: string): User {
    const user = this.byName(target);
    if (this.serverPassword === undefined || !user) throw unauthenticated();
    const key = createHash('sha256').update(this.serverPassword).digest('hex').slice(0, 32);
    const cipher = createDecipheriv('aes-256-cbc', key, key.slice(0, 16));
    try {
      const text = cipher.update(token, 'base64', 'utf8') + cipher.final('utf8');
      const [server, , ends] = text.split(':');
      if (server === 'serveradmin' && Number(ends) > Date.now() / 1000) return user;
    } catch {
      // Another password.
    }
    throw unauthenticated();
  }
}

export function isAdmin(user: User): boolean {
  return user.gid === 0;
}

function allowed(user: User, object: Owned, operation: Operation): boolean {
  const bit = operations.indexOf(operation);
  const may = (from: number): boolean => object.permissions[from + bit] === '1';
  return (object.uid === user.id && may(0)) || (object.gid === user.gid && may(3)) || may(6);
}

/**
 * @param heedLock false for what a lock does not stop: info, lock and unlock.
 * @throws Failure 512 in oned's words.
 */
export function authorize(
  user: User,
  kind: Kind,
  object: Owned,
  operation: Operation,
  heedLock = true,
): void {
  const { tag } = kinds[kind];
  const locked = heedLock && object.lock && operations.indexOf(operation) + 1 >= object.lock.level;
  if (isAdmin(user)) {
    if (locked) throw unauthorized(user.id, `${tag} is locked. [${object.id}]`);
  } else if (locked || !allowed(user, object, operation)) {
    throw unauthorized(user.id, `Not authorized to perform ${operation} ${tag} [${object.id}]`);
  }
}

/** OWNER_U and OWNER_M only: the default umask 177. */
export const defaultPermissions = '110000000';

export function ownedBy(user: User): Pick<Owned, 'uid' | 'gid' | 'uname' | 'gname'> {
  return { uid: user.id, gid: user.gid, uname: user.name, gname: user.gname };
}

export function identityXml(object: Owned): string {
  return (
    `<ID>${object.id}</ID><UID>${object.uid}</UID><GID>${object.gid}</GID>` +
    `<UNAME>${object.uname}</UNAME><GNAME>${object.gname}</GNAME><NAME>${object.name}</NAME>`
  );
}

export function permissionsXml(object: Owned): string {
  const names = ['OWNER', 'GROUP', 'OTHER'].flatMap((who) =>
    ['U', 'M', 'A'].map((op) => `${who}_${op}`),
  );
  const bits = names.map((name, at) => `<${name}>${object.permissions[at] ?? '0'}</${name}>`);
  return `<PERMISSIONS>${bits.join('')}</PERMISSIONS>`;
}

export function lockXml(object: Owned): string {
  if (!object.lock) return '';
  const { level, owner, time, requestId } = object.lock;
  return `<LOCK><LOCKED>${level}</LOCKED><OWNER>${owner}</OWNER><TIME>${time}</TIME><REQ_ID>${requestId}</REQ_ID></LOCK>`;
}

/**
 * PASSWORD is a hash in oned; here it is no secret's hash, only a filler of the right shape.
 * @param quotas the elements of the user's quotas
 */
export function userXml(user: User, quotas: string): string {
  const none =
    '<DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA></NETWORK_QUOTA><VM_QUOTA></VM_QUOTA><IMAGE_QUOTA></IMAGE_QUOTA>';
  return (
    `<USER><ID>${user.id}</ID><GID>${user.gid}</GID><GROUPS><ID>${user.gid}</ID></GROUPS>` +
    `<GNAME>${user.gname}</GNAME><NAME>${user.name}</NAME><PASSWORD>${cdata('0'.repeat(64))}</PASSWORD>` +
    `<AUTH_DRIVER>${cdata('core')}</AUTH_DRIVER><ENABLED>1</ENABLED>${user.template.toXml('TEMPLATE')}${quotas}` +
    `<DEFAULT_USER_QUOTAS>${none}</DEFAULT_USER_QUOTAS></USER>`
  );
}
