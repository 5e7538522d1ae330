// VM templates: one.template.* and one.templatepool.info. Source: VMTemplatePool.cc, VMTemplate.cc.
import { internal, noSuch } from './failure.ts';
import { instantiate } from './instantiate.ts';
import { invalidName } from './names.ts';
import { shownTo } from './pools.ts';
import type { Template } from './template.ts';
import { parseTemplate } from './template-text.ts';
import { requireValidRaw } from './raw-section.ts';
import { refuseRestricted } from './vm-template-rights.ts';
import {
  authorize,
  defaultPermissions,
  identityXml,
  lockXml,
  ownedBy,
  permissionsXml,
} from './users.ts';
import type { Operation, Owned } from './users.ts';
import { now } from './world.ts';
import type { Call, MethodTable, World } from './world.ts';

export interface VmTemplate extends Owned {
  readonly regtime: number;
  template: Template;
}

function getTemplate(world: World, id: number): VmTemplate {
  const found = world.templates.get(id);
  if (!found) throw noSuch('template', id);
  return found;
}

function templateXml(one: VmTemplate): string {
  return (
    `<VMTEMPLATE>${identityXml(one)}${lockXml(one)}${permissionsXml(one)}` +
    `<REGTIME>${one.regtime}</REGTIME>${one.template.toXml('TEMPLATE')}</VMTEMPLATE>`
  );
}

function allocate({ world, user, params }: Call): number {
  const template = parseTemplate(params.string(1), world.settings.release);
  refuseRestricted(world, user, template);
  const name = template.get('NAME') ?? '';
  const invalid = invalidName(name, world.settings.release);
  if (invalid !== undefined) throw internal(invalid);
  const taken = [...world.templates.values()].find(
    (one) => one.name === name && one.uid === user.id,
  );
  if (taken) throw internal(`NAME is already taken by TEMPLATE ${taken.id}.`);
  template.erase('NAME');
  requireValidRaw(template, internal);
  template.dropEmptyVectors();
  if (!template.isStorable()) throw internal('Error transforming the Template to XML.');
  const id = world.nextId('template');
  const permissions = defaultPermissions;
  world.templates.set(id, { ...ownedBy(user), id, name, permissions, regtime: now(), template });
  return id;
}

function find(call: Call, operation: Operation, heedLock = true): VmTemplate {
  const template = getTemplate(call.world, call.params.int(1));
  authorize(call.user, 'template', template, operation, heedLock);
  return template;
}

function remove(call: Call): number {
  const { id } = find(call, 'MANAGE');
  call.world.templates.delete(id);
  return id;
}

function pool(call: Call): string {
  const shown = shownTo(call, 'template', call.world.templates);
  return `<VMTEMPLATE_POOL>${shown.map(templateXml).join('')}</VMTEMPLATE_POOL>`;
}

function start(call: Call): number {
  const { params } = call;
  const id = params.int(1);
  const name = params.string(2);
  const hold = params.size > 3 && params.boolean(3);
  const extra = params.size > 3 ? params.string(4) : '';
  if (params.size > 5) params.boolean(5);
  const source = getTemplate(call.world, id);
  authorize(call.user, 'template', source, 'USE');
  return instantiate(call, source, { name, hold, extra });
}

export const templateMethods: MethodTable = {
  'one.template.allocate': allocate,
  'one.template.delete': remove,
  'one.template.info': (call) => templateXml(find(call, 'USE', false)),
  'one.template.instantiate': start,
  'one.templatepool.info': pool,
};
