// A new VM from a template: what goes to TEMPLATE and what stays in USER_TEMPLATE follows
// VirtualMachine::insert of 6.10.5.
import { randomUUID } from 'node:crypto';
import { addContext } from './context.ts';
import { releaseImage } from './images.ts';
import { invalidName } from './names.ts';
import { leaseNics } from './networks.ts';
import { Template } from './template.ts';
import { defaultPermissions, ownedBy } from './users.ts';
import type { User } from './users.ts';
import { acquireDisks, DiskError } from './vm-disks.ts';
import { noBackups, vmState } from './vm.ts';
import type { Vm } from './vm.ts';
import { now } from './world.ts';
import type { World } from './world.ts';

/** Attributes that oned moves to TEMPLATE as they are. */
const moved = [
  'INPUT',
  'FEATURES',
  'RAW',
  'CLONING_TEMPLATE_ID',
  'TOPOLOGY',
  'NUMA_NODE',
  'HYPERV_OPTIONS',
  'SPICE_OPTIONS',
  'EMULATOR',
  'MEMORY_RESIZE_MODE',
  'MEMORY_MAX',
  'MEMORY_SLOTS',
  'VCPU_MAX',
  'CPU_COST',
  'MEMORY_COST',
  'DISK_COST',
  'CPU_MODEL',
  'PCI',
  'NIC_DEFAULT',
  'TM_MAD_SYSTEM',
  'GRAPHICS',
  'VIDEO',
  'SUBMIT_ON_HOLD',
];

function move(name: string, from: Template, to: Template): void {
  for (const one of from.all()) if (one.name === name) to.add(name, one.value);
  from.erase(name);
}

function takeNumbers(user: Template, template: Template): void {
  const take = (name: string, pattern: RegExp, words: string): void => {
    const value = user.get(name)?.trim() ?? '';
    if (!pattern.test(value) || Number(value) <= 0) {
      throw new DiskError(`${name} attribute must be a positive ${words} value.`);
    }
    user.erase(name);
    template.add(name, String(Number(value)));
  };
  take('MEMORY', /^\d+$/, 'integer');
  take('CPU', /^\d*\.?\d+$/, 'float or integer');
  if (user.get('VCPU')) take('VCPU', /^\d+$/, 'integer');
}

/** OS/BOOT, such as `disk0,nic0`, becomes ORDER of those disks and NICs; an ORDER given is dropped. */
function setBootOrder(template: Template): void {
  for (const device of [...template.vectors('DISK'), ...template.vectors('NIC')]) {
    device.delete('ORDER');
  }
  const boot = template.vectors('OS')[0]?.get('BOOT') ?? '';
  if (boot === '') return;
  for (const [at, device] of boot.toUpperCase().split(',').entries()) {
    const [, kind, id] = /^(DISK|NIC)(\d+)$/.exec(device) ?? [];
    if (kind === undefined || id === undefined) {
      throw new DiskError(
        `Wrong OS/BOOT value: "${boot}" should be a comma-separated list of disk# or nic#`,
      );
    }
    const found = template.vectors(kind).find((one) => one.get(`${kind}_ID`) === id);
    if (!found) {
      throw new DiskError(`Wrong OS/BOOT value. Device with ${kind}_ID ${id} not found`);
    }
    found.set('ORDER', String(at + 1));
  }
}

/** The VM that a template makes, with its images and addresses taken. @throws DiskError or NicError. */
export function newVm(world: World, user: User, id: number, userTemplate: Template): Vm {
  const template = new Template();
  template.add('VMID', String(id));
  template.add('TEMPLATE_ID', userTemplate.take('TEMPLATE_ID'));
  userTemplate.erase('VMID');
  const prefix = userTemplate.take('TEMPLATE_NAME') || 'one';
  const name = userTemplate.take('NAME') || `${prefix}-${id}`;
  const invalid = invalidName(name);
  if (invalid !== undefined) throw new DiskError(invalid);
  for (const one of moved) move(one, userTemplate, template);
  takeNumbers(userTemplate, template);

  const [os, second] = userTemplate.vectors('OS');
  if (second) throw new DiskError('Only one OS attribute can be defined.');
  userTemplate.erase('OS');
  template.add('OS', new Map(os).set('UUID', os?.get('UUID') || randomUUID()));

  for (const one of ['DISK', 'NIC', 'CONTEXT']) move(one, userTemplate, template);
  const context = template.vectors('CONTEXT')[0];
  const vm: Vm = {
    ...ownedBy(user),
    id,
    name,
    permissions: defaultPermissions,
    state: vmState.pending[0],
    lcmState: vmState.pending[1],
    prevState: vmState.pending[0],
    prevLcmState: vmState.pending[1],
    stime: now(),
    etime: 0,
    lastPoll: 0,
    deployId: '',
    monitoring: '<MONITORING></MONITORING><SCHED_ACTIONS></SCHED_ACTIONS>',
    template,
    userTemplate,
    history: [],
    snapshotsXml: '',
    backupsXml: noBackups,
  };
  leaseNics(world, vm);
  acquireDisks(world, vm, template.vectors('DISK'), context, template.get('TM_MAD_SYSTEM') ?? '');
  try {
    setBootOrder(template);
    if (context) addContext(vm, context);
  } catch (error) {
    for (const image of world.images.values()) if (image.vms.has(id)) releaseImage(image, id);
    throw error;
  }
  template.add('AUTOMATIC_DS_REQUIREMENTS', '("CLUSTERS/ID" @> 0)');
  template.add('AUTOMATIC_NIC_REQUIREMENTS', '("CLUSTERS/ID" @> 0)');
  template.add(
    'AUTOMATIC_REQUIREMENTS',
    '(CLUSTER_ID = 0) & !(PUBLIC_CLOUD = YES) & !(PIN_POLICY = PINNED)',
  );
  return vm;
}
