// one.template.instantiate: a template, perhaps with changes, becomes a VM that is deployed or held.
// Source: RequestManagerVMTemplate.cc (src/rm/api/TemplateAPI.cc in 7.4.0), read in 6.4.7, 6.10.5 and 7.4.0.
import { schedule } from './deploy.ts';
import { notAllocated } from './failure.ts';
import { newVm } from './new-vm.ts';
import { requireVmQuota } from './quotas.ts';
import { parseTemplate } from './template-text.ts';
import type { VmTemplate } from './templates.ts';
import { completeTopology } from './topology.ts';
import { setVmState, vmState } from './vm.ts';
import type { Vm } from './vm.ts';
import { refuseChanged, withUsableObjects } from './vm-template-rights.ts';
import { VmError } from './vm-error.ts';
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
    const more = parseTemplate(extra, world.settings.release);
    refuseChanged(world, user, more, wanted);
    wanted.merge(more);
  }
  for (const own of ['NAME', 'TEMPLATE_NAME', 'TEMPLATE_ID']) wanted.erase(own);
  wanted.add('TEMPLATE_NAME', source.name);
  wanted.add('TEMPLATE_ID', String(source.id));
  if (name !== '') wanted.add('NAME', name);
  let vm: Vm;
  try {
    completeTopology(wanted, world.settings.release);
    requireVmQuota(world, user, withUsableObjects(world, user, wanted));
    vm = newVm(world, user, world.nextId('vm'), wanted);
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    throw notAllocated('template', error.message);
  }
  const { id } = vm;
  world.vms.set(id, vm);
  if (hold) {
    vm.template.replace('SUBMIT_ON_HOLD', 'YES');
    setVmState(vm, vmState.hold);
  } else {
    world.background(() => schedule(world, vm));
  }
  return id;
}
