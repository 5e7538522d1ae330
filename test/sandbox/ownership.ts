// What oned can do to every image, template and VM alike: change owner, rights, name and template, lock.
// Source: RequestManagerChown.cc, -Chmod.cc, -Rename.cc, -UpdateTemplate.cc, -Lock.cc, PoolObjectSQL.cc of 6.10.5.
import { Failure, errorCode, internal, kinds, noSuch, refused } from './failure.ts';
import { invalidName } from './names.ts';
import { imageRestrictedAttributes, vmRestrictedAttributes } from './oned-conf.ts';
import { requireValidRaw } from './raw-section.ts';
import { changedRestricted, restrictedList } from './restricted.ts';
import type { Template } from './template.ts';
import { parseTemplate } from './template-text.ts';
import { authorize, isAdmin } from './users.ts';
import type { Operation, Owned } from './users.ts';
import { now } from './world.ts';
import type { Call, Handler, MethodTable, World } from './world.ts';

type PoolKind = 'vm' | 'image' | 'template';

const pools = { vm: 'vms', image: 'images', template: 'templates' } as const;

function pool(world: World, kind: PoolKind): ReadonlyMap<number, Owned> {
  return world[pools[kind]];
}

function find(call: Call, kind: PoolKind, operation: Operation, heedLock = true): Owned {
  const id = call.params.int(1);
  const object = pool(call.world, kind).get(id);
  if (!object) throw noSuch(kind, id);
  authorize(call.user, kind, object, operation, heedLock);
  return object;
}

/** -1 leaves the owner or the group as it is. */
function chown(call: Call, kind: PoolKind): number {
  const [uid, gid] = [call.params.int(2), call.params.int(3)];
  const object = find(call, kind, uid === -1 ? 'MANAGE' : 'ADMIN');
  if (uid !== -1) {
    const owner = call.world.users.byId(uid);
    const taken = [...pool(call.world, kind).values()].find(
      (one) => one !== object && one.uid === uid && one.name === object.name,
    );
    if (taken && kind !== 'vm') {
      const { tag } = kinds[kind];
      throw internal(
        `${tag} ${object.id} cannot be chowned to user ${uid} because it collides with ${tag} ${taken.id}`,
      );
    }
    object.uid = owner.id;
    object.uname = owner.name;
  }
  if (gid === -1) return object.id;
  if (gid !== 0 && gid !== 1)
    throw new Failure(errorCode.noExists, `Error getting group [${gid}].`, gid);
  object.gid = gid;
  object.gname = gid === 0 ? 'oneadmin' : 'users';
  return object.id;
}

function chmod(call: Call, kind: PoolKind): number {
  const wanted = Array.from({ length: 9 }, (_, at) => call.params.int(at + 2));
  const object = find(call, kind, 'MANAGE');
  if (wanted.some((bit) => bit < -1 || bit > 1)) {
    throw new Failure(0x1000, 'Wrong permission bits');
  }
  object.permissions = wanted
    .map((bit, at) => (bit === -1 ? (object.permissions[at] ?? '0') : String(bit)))
    .join('');
  return object.id;
}

function rename(call: Call, kind: PoolKind): number {
  const name = call.params.string(2);
  const object = find(call, kind, 'MANAGE');
  if (name === object.name) return object.id;
  const taken = [...pool(call.world, kind).values()].find(
    (one) => one.uid === object.uid && one.name === name,
  );
  const { noun } = kinds[kind];
  if (taken && kind !== 'vm') {
    throw refused(
      `${noun} cannot be renamed to ${name} because it collides with ${noun} ${taken.id}`,
    );
  }
  const invalid = invalidName(name, call.world.settings.release);
  if (invalid !== undefined) throw refused(invalid);
  object.name = name;
  return object.id;
}

/** Of a VM, USER_TEMPLATE is what users may change. */
function templateOf(world: World, kind: PoolKind, id: number): Template {
  if (kind === 'vm') return world.vms.get(id)!.userTemplate;
  return kind === 'image' ? world.images.get(id)!.template : world.templates.get(id)!.template;
}

interface Update {
  readonly changes: Template;
  readonly template: Template;
  readonly append: boolean;
}

/** Restricted attributes of an ordinary user's objects stay as they are. */
function refuseRestrictedUpdate(call: Call, kind: PoolKind, update: Update): void {
  if (isAdmin(call.user)) return;
  const { changes, template: base, append } = update;
  const { release } = call.world.settings;
  const attributes =
    kind === 'image' ? imageRestrictedAttributes(release) : vmRestrictedAttributes(release);
  const found = changedRestricted(changes, restrictedList(attributes), { base, append, release });
  if (found === undefined) return;
  const words = append
    ? 'User Template includes a restricted attribute '
    : 'Tried to change restricted attribute: ';
  throw internal(`Cannot update template. ${words}${found}`);
}

/** Type 0 replaces the whole template, 1 merges. */
function updateTemplate(call: Call, kind: PoolKind): number {
  const text = call.params.string(2);
  const type = call.params.size > 3 ? call.params.int(3) : 0;
  const { id } = find(call, kind, 'MANAGE');
  if (type !== 0 && type !== 1) throw new Failure(0x1000, 'Wrong update type');
  const changes = parseTemplate(text, call.world.settings.release);
  if (kind === 'template') {
    requireValidRaw(changes, (reason) => internal(`Cannot update template. ${reason}`));
  }
  if (!changes.isStorable()) throw internal('Cannot update template.');
  const template = templateOf(call.world, kind, id);
  refuseRestrictedUpdate(call, kind, { changes, template, append: type === 1 });
  if (type === 0) for (const { name } of template.all()) template.erase(name);
  template.merge(changes);
  template.dropEmptyVectors();
  return id;
}

/** Level 4, ALL, is kept as 1, USE: a lock on use stops everything above it, too. */
const storedLevels = new Map([
  [1, 1],
  [2, 2],
  [3, 3],
  [4, 1],
]);

function lock(call: Call, kind: PoolKind): number {
  const { params, user, requestId } = call;
  const level = storedLevels.get(params.int(2));
  const test = params.size > 3 && params.boolean(3);
  const object = find(call, kind, 'MANAGE', false);
  if (level === undefined) throw refused('Wrong lock level specified');
  if (test && object.lock) throw refused(String(object.lock.time));
  if (object.lock && object.lock.owner !== user.id && !isAdmin(user)) {
    throw refused('Error trying to lock the resource.');
  }
  object.lock = { level, owner: user.id, time: now(), requestId };
  return object.id;
}

function unlock(call: Call, kind: PoolKind): number {
  const object = find(call, kind, 'MANAGE', false);
  if (!isAdmin(call.user) && object.lock?.owner !== call.user.id) {
    throw refused('Cannot unlock: Lock is owned by another user');
  }
  object.lock = undefined;
  return object.id;
}

const operations = { chown, chmod, rename, update: updateTemplate, lock, unlock };

function methodsOf(kind: PoolKind): [string, Handler][] {
  return Object.entries(operations).map(([name, operate]) => [
    `one.${kind}.${name}`,
    (call) => operate(call, kind),
  ]);
}

export const ownershipMethods: MethodTable = Object.fromEntries([
  ...methodsOf('vm'),
  ...methodsOf('image'),
  ...methodsOf('template'),
]);
