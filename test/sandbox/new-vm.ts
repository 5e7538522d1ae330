// A new VM from a template: what goes to TEMPLATE, what stays in USER_TEMPLATE and what is refused, in oned's order,
// since the first reason is the one that a caller is told.
// Source: VirtualMachine::insert and set_boot_order, read in 6.4.7, 6.10.5 and 7.4.0.
import { addContext } from './context.ts';
import { releaseImage } from './images.ts';
import { invalidName } from './names.ts';
import { attachNics } from './nics.ts';
import { requireValidRaw } from './raw-section.ts';
import { Template } from './template.ts';
import { defaultPermissions, ownedBy } from './users.ts';
import type { User } from './users.ts';
import * as attributes from './vm-attributes.ts';
import { acquireDisks } from './vm-disks.ts';
import { VmError } from './vm-error.ts';
import { noBackups, vmState } from './vm.ts';
import type { Vm } from './vm.ts';
import { now } from './world.ts';
import type { World } from './world.ts';

/** Attributes that oned moves to TEMPLATE as they are. */
const moved = [
  ...['INPUT', 'RAW', 'CLONING_TEMPLATE_ID', 'TOPOLOGY', 'NUMA_NODE', 'HYPERV_OPTIONS'],
  ...['SPICE_OPTIONS', 'EMULATOR', 'MEMORY_RESIZE_MODE', 'MEMORY_MAX', 'MEMORY_SLOTS', 'VCPU_MAX'],
  ...['CPU_COST', 'MEMORY_COST', 'DISK_COST', 'TM_MAD_SYSTEM', 'SUBMIT_ON_HOLD'],
];

function takeNumbers(user: Template, template: Template): void {
  const take = (name: string, pattern: RegExp, words: string): void => {
    const value = user.get(name)?.trim() ?? '';
    if (!pattern.test(value) || Number(value) <= 0) {
      throw new VmError(`${name} attribute must be a positive ${words} value.`);
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
  for (const [at, device] of boot.toUpperCase().split(',').filter(Boolean).entries()) {
    const [, kind, id] = /^(DISK|NIC)(\d+)$/.exec(device) ?? [];
    if (kind === undefined || id === undefined) {
      throw new VmError(
        `Wrong OS/BOOT value: "${boot}" should be a comma-separated list of disk# or nic#`,
      );
    }
    const found = template
      .vectors(kind)
      .find((one) => one.get(`${kind}_ID`) === String(Number(id)));
    if (!found) {
      throw new VmError(`Wrong OS/BOOT value. Device with ${kind}_ID ${id} not found`);
    }
    found.set('ORDER', String(at + 1));
  }
}

function newState(world: World, user: User, id: number, userTemplate: Template): Vm {
  const template = new Template();
  template.add('VMID', String(id));
  template.add('TEMPLATE_ID', userTemplate.take('TEMPLATE_ID'));
  userTemplate.erase('VMID');
  const prefix = userTemplate.take('TEMPLATE_NAME') || 'one';
  const name = userTemplate.take('NAME') || `${prefix}-${id}`;
  const invalid = invalidName(name, world.settings.release);
  if (invalid !== undefined) throw new VmError(invalid);
  return {
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
}

/** The VM that a template makes, with its images and addresses taken. @throws VmError in oned's words. */
export function newVm(world: World, user: User, id: number, userTemplate: Template): Vm {
  const vm = newState(world, user, id, userTemplate);
  const { template } = vm;
  for (const one of moved) attributes.move(one, userTemplate, template);
  takeNumbers(userTemplate, template);
  attributes.addFeatures(world, vm);
  attributes.addOs(world, vm);
  attributes.addCpuModel(world, vm);
  requireValidRaw(template, (reason) => new VmError(reason));
  attributes.addPci(world, vm);
  attributes.addNicDefault(vm);
  attributes.moveVirtualRouter(vm);
  for (const one of ['NIC', 'NIC_ALIAS']) attributes.moveVectors(vm, one);
  attachNics(world, vm);
  const context = attributes.firstVector(world, vm, { name: 'CONTEXT', diesFrom: '6.10.0' });
  if (context) template.add('CONTEXT', context);
  const disks = attributes.moveVectors(vm, 'DISK');
  acquireDisks(
    world,
    vm,
    [...disks],
    template.vectors('CONTEXT')[0],
    template.get('TM_MAD_SYSTEM') ?? '',
    template.vectors('OS')[0]?.get('MACHINE') ?? '',
  );
  try {
    setBootOrder(template);
    addContext(world, vm);
    attributes.fillInRequirements(world, vm);
    addAutomaticRequirements(world, template);
    attributes.addGraphics(world, vm);
    attributes.addVideo(world, vm);
    refuseVmGroup(vm);
  } catch (error) {
    for (const image of world.images.values()) if (image.vms.has(id)) releaseImage(image, id);
    throw error;
  }
  return vm;
}

/** The stand-in has no VM groups. Source: VMGroupPool::vmgroup_attribute, read in 6.10.5. */
function refuseVmGroup(vm: Vm): void {
  const [group] = vm.userTemplate.vectors('VMGROUP');
  if (!group) return;
  throw new VmError(
    group.get('ROLE')
      ? 'Cannot find VM Group to associate the VM'
      : 'Missing role name in VM Group definition',
  );
}

/** A VM is bound to the cluster of its images and networks, if it has any. */
function addAutomaticRequirements(world: World, template: Template): void {
  const parts = ['DISK', 'NIC', 'NIC_ALIAS', 'PCI'].flatMap((name) => template.vectors(name));
  const clustered = parts.some((one) => one.has('CLUSTER_ID'));
  const pinned = template.vectors('TOPOLOGY')[0]?.get('PIN_POLICY') ?? 'NONE';
  const requirements = [
    ...(clustered ? ['(CLUSTER_ID = 0)'] : []),
    ...(world.settings.release.atLeast('7.0.0') ? [] : ['!(PUBLIC_CLOUD = YES)']),
    `${pinned === 'NONE' ? '!' : ''}(PIN_POLICY = PINNED)`,
  ];
  if (clustered) {
    template.add('AUTOMATIC_DS_REQUIREMENTS', '("CLUSTERS/ID" @> 0)');
    template.add('AUTOMATIC_NIC_REQUIREMENTS', '("CLUSTERS/ID" @> 0)');
  }
  template.add('AUTOMATIC_REQUIREMENTS', requirements.join(' & '));
}
