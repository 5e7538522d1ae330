// one.template.instantiate: from a template to a VM with its disks on the system datastore. What goes to
// TEMPLATE and what stays in USER_TEMPLATE follows VirtualMachine::insert of 6.10.5.
import { randomUUID } from 'node:crypto';
import { addContext } from './context.ts';
import { makeDiskFiles, vmFolder } from './disk-files.ts';
import { notAllocated } from './failure.ts';
import { invalidName } from './names.ts';
import { acquireDisks, DiskError, isVolatile, volatileAttributes } from './vm-disks.ts';
import { getDatastore } from './datastores.ts';
import { leaseNics, NicError } from './networks.ts';
import { refuseRestricted } from './restricted.ts';
import { Template } from './template.ts';
import { parseTemplate } from './template-text.ts';
import type { VmTemplate } from './templates.ts';
import { defaultPermissions, ownedBy } from './users.ts';
import type { User } from './users.ts';
import { getVm, newHistory, noBackups, setVmState, vmState } from './vm.ts';
import type { Vm } from './vm.ts';
import { now } from './world.ts';
import type { Call, World } from './world.ts';

export interface InstantiateOptions {
  readonly name: string;
  /** Keeps the VM in HOLD instead of deploying it. */
  readonly hold: boolean;
  /** A template merged over the stored one. */
  readonly extra: string;
}

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

/** @throws DiskError or NicError, the reasons of oned's allocate error. */
function buildVm(world: World, user: User, id: number, userTemplate: Template): Vm {
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
  if (context) addContext(vm, context);
  template.add('AUTOMATIC_DS_REQUIREMENTS', '("CLUSTERS/ID" @> 0)');
  template.add('AUTOMATIC_NIC_REQUIREMENTS', '("CLUSTERS/ID" @> 0)');
  template.add(
    'AUTOMATIC_REQUIREMENTS',
    '(CLUSTER_ID = 0) & !(PUBLIC_CLOUD = YES) & !(PIN_POLICY = PINNED)',
  );
  return vm;
}

/** Makes the VM and, unless it is held, deploys it. @returns its id. */
export function instantiate(
  { world, user }: Pick<Call, 'world' | 'user'>,
  source: VmTemplate,
  { name, hold, extra }: InstantiateOptions,
): number {
  const wanted = source.template.clone();
  if (extra !== '') {
    const more = parseTemplate(extra);
    refuseRestricted(user, more);
    wanted.merge(more);
  }
  for (const own of ['NAME', 'TEMPLATE_NAME', 'TEMPLATE_ID']) wanted.erase(own);
  wanted.add('TEMPLATE_NAME', source.name);
  wanted.add('TEMPLATE_ID', String(source.id));
  if (name !== '') wanted.add('NAME', name);
  const id = world.nextId('vm');
  let vm: Vm;
  try {
    vm = buildVm(world, user, id, wanted);
  } catch (error) {
    if (error instanceof DiskError || error instanceof NicError) {
      throw notAllocated('template', error.message);
    }
    throw error;
  }
  world.vms.set(id, vm);
  if (hold) {
    vm.template.replace('SUBMIT_ON_HOLD', 'YES');
    setVmState(vm, vmState.hold);
  } else {
    world.background(() => deploy(world, id, scheduledDatastore(world, vm)));
  }
  return id;
}

/** The scheduler's choice: SCHED_DS_REQUIREMENTS with an ID, else the system datastore of the disks' TM. */
export function scheduledDatastore(world: World, vm: Vm): number {
  const wanted = /\bID\s*=\s*"?(\d+)/.exec(vm.userTemplate.get('SCHED_DS_REQUIREMENTS') ?? '')?.[1];
  if (wanted !== undefined && world.datastores.get(Number(wanted))?.system) return Number(wanted);
  const tm = vm.template
    .vectors('DISK')
    .map((disk) => disk.get('TM_MAD_SYSTEM') ?? disk.get('TM_MAD'));
  return tm.includes('qcow2') ? 100 : 0;
}

/** PROLOG, the disks' files, RUNNING. Without a hypervisor there is no guest behind it. */
export async function deploy(world: World, vmId: number, datastoreId: number): Promise<void> {
  const vm = getVm(world, vmId);
  const datastore = getDatastore(world.datastores, datastoreId);
  const disks = vm.template.vectors('DISK');
  for (const disk of disks) if (isVolatile(disk)) volatileAttributes(disk, datastore);
  vm.template.replace('TM_MAD_SYSTEM', datastore.tmMad);
  const history = newHistory({ id: 0, name: 'localhost' }, datastore.tmMad, datastoreId, now());
  // A VM that was undeployed or stopped has its disks already.
  const firstTime = vm.history.length === 0;
  vm.history.push(history);
  setVmState(vm, vmState.prolog);
  try {
    await world.pause(world.deployMs);
    const folder = vmFolder(world, datastoreId, vmId);
    if (firstTime) await makeDiskFiles(world, folder, disks, vm.template.vectors('CONTEXT')[0]);
  } catch (error) {
    vm.userTemplate.replace('ERROR', `PROLOG: ${(error as Error).message.split('\n')[0] ?? ''}`);
    setVmState(vm, vmState.prologFailure);
    return;
  }
  history.petime = now();
  history.rstime = now();
  vm.deployId = vm.template.vectors('OS')[0]?.get('UUID') ?? `one-${vmId}`;
  const graphics = vm.template.vectors('GRAPHICS')[0];
  if (graphics && !graphics.get('PORT')) graphics.set('PORT', String(5900 + vmId));
  setVmState(vm, vmState.running);
}
