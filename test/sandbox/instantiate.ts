// one.template.instantiate: a template, perhaps with changes, becomes a VM that is deployed or held.
// Source: RequestManagerVMTemplate.cc of 6.10.5.
import { deploy, scheduledDatastore } from './deploy.ts';
import { notAllocated } from './failure.ts';
import { NicError } from './networks.ts';
import { newVm } from './new-vm.ts';
import { refuseRestricted } from './restricted.ts';
import { parseTemplate } from './template-text.ts';
import type { VmTemplate } from './templates.ts';
import { setVmState, vmState } from './vm.ts';
import type { Vm } from './vm.ts';
import { DiskError } from './vm-disks.ts';
import type { Call } from './world.ts';

export interface InstantiateOptions {
  readonly name: string;
  /** Keeps the VM in HOLD instead of deploying it. */
  readonly hold: boolean;
  /** A template merged over the stored one. */
  readonly extra: string;
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
    vm = newVm(world, user, id, wanted);
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
