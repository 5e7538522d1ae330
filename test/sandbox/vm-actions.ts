// one.vm.action and one.vm.deploy: what they do to the state, the images and the disk files. No guest
// runs behind it. Source: DispatchManagerActions.cc, RequestManagerVirtualMachine.cc of 6.10.5.
import { rename, rm } from 'node:fs/promises';
import { getDatastore } from './datastores.ts';
import { vmFolder } from './disk-files.ts';
import { noSuch, refused } from './failure.ts';
import { releaseImage } from './images.ts';
import { deploy, schedule, scheduledDatastore } from './deploy.ts';
import { authorize } from './users.ts';
import { getVm, setVmState, stateWord, vmState } from './vm.ts';
import type { Vm, VmState } from './vm.ts';
import { now } from './world.ts';
import type { Call, MethodTable, World } from './world.ts';

interface Action {
  readonly from: readonly VmState[];
  /** The state on the way; undefined when the change is instant. */
  readonly through?: VmState;
  readonly finish: (world: World, vm: Vm) => Promise<void> | void;
}

const { pending, hold, running, poweroff, undeployed, suspended, stopped } = vmState;

/** Sets a lasting state and closes the times of the last history record. */
function rest(state: VmState, action: number): Action['finish'] {
  return (_world, vm) => {
    const last = vm.history.at(-1);
    if (last) {
      last.retime = now();
      last.action = action;
      if (state !== poweroff && state !== suspended) last.etime = now();
    }
    setVmState(vm, state);
  };
}

/** Gives images back; a persistent one of a TM that copies gets its file back, too. */
async function terminate(world: World, vm: Vm): Promise<void> {
  const datastoreId = vm.history.at(-1)?.datastoreId;
  const folder = datastoreId === undefined ? undefined : vmFolder(world, datastoreId, vm.id);
  for (const disk of vm.template.vectors('DISK')) {
    const image = world.images.get(Number(disk.get('IMAGE_ID') ?? -1));
    if (!image) continue;
    const copied = disk.get('LN_TARGET') === 'SYSTEM' || disk.get('TM_MAD_SYSTEM') === 'ssh';
    if (folder !== undefined && disk.get('SAVE') === 'YES' && copied) {
      await rename(`${folder}/disk.${disk.get('DISK_ID') ?? ''}`, image.source).catch(
        () => undefined,
      );
    }
    releaseImage(image, vm.id);
  }
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  vm.etime = now();
  setVmState(vm, vmState.done);
}

const powerOff: Action = { from: [running], through: [3, 18], finish: rest(poweroff, 20) };
const undeploy: Action = {
  from: [running, poweroff],
  through: [3, 29],
  finish: rest(undeployed, 5),
};
const end: Action = {
  from: [running, poweroff, undeployed, suspended, stopped, pending, hold],
  through: [3, 12],
  finish: terminate,
};
const reboot: Action = { from: [running], finish: () => undefined };

const actions: Readonly<Record<string, Action>> = {
  poweroff: powerOff,
  'poweroff-hard': powerOff,
  undeploy,
  'undeploy-hard': undeploy,
  terminate: end,
  'terminate-hard': end,
  reboot,
  'reboot-hard': reboot,
  suspend: { from: [running], through: [3, 6], finish: rest(suspended, 12) },
  stop: { from: [running, suspended], through: [3, 5], finish: rest(stopped, 11) },
  hold: { from: [pending], finish: (_world, vm) => setVmState(vm, hold) },
  release: { from: [hold], finish: schedule },
  resume: {
    from: [poweroff, suspended, undeployed, stopped],
    finish: async (world, vm) => {
      if (vm.state === undeployed[0] || vm.state === stopped[0]) return schedule(world, vm);
      setVmState(vm, [3, 20]);
      await world.pause(world.deployMs);
      setVmState(vm, running);
    },
  },
};

function act({ world, user, params }: Call): number {
  const name = params.string(1);
  const vm = getVm(world, params.int(2));
  authorize(user, 'vm', vm, 'MANAGE');
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (!action) throw refused(`Action "${name}" is not supported`);
  if (!action.from.some(([state, lcm]) => state === vm.state && lcm === vm.lcmState)) {
    throw refused(
      `Error performing action "${name}": This action is not available for state ${stateWord(vm)}`,
    );
  }
  if (action.through) setVmState(vm, action.through);
  world.background(async () => {
    if (action.through) await world.pause(world.deployMs);
    await action.finish(world, vm);
  });
  return vm.id;
}

/** one.vm.deploy(id, host, enforce, system datastore): for VMs on hold or pending. */
function deployNow({ world, user, params }: Call): number {
  const vm = getVm(world, params.int(1));
  const host = params.int(2);
  const datastoreId = params.size > 4 ? params.int(4) : -1;
  authorize(user, 'vm', vm, 'ADMIN');
  if (host !== 0) throw noSuch('host', host);
  if (![pending, hold].some(([state]) => state === vm.state)) {
    throw refused(`Deploy action is not available for state ${stateWord(vm)}`);
  }
  const wanted = datastoreId < 0 ? scheduledDatastore(world, vm) : datastoreId;
  const datastore = getDatastore(world.datastores, wanted);
  if (!datastore.system) {
    throw refused(
      `Trying to use datastore [${wanted}] to deploy the VM, but it is not a system datastore.`,
    );
  }
  setVmState(vm, vmState.prolog);
  world.background(() => deploy(world, vm.id, wanted));
  return vm.id;
}

/** The sandbox has no backup datastore, so this only ever finds a reason to refuse. */
function backup({ world, user, params }: Call): number {
  const vm = getVm(world, params.int(1));
  authorize(user, 'vm', vm, 'ADMIN');
  const { id } = getDatastore(world.datastores, params.int(2));
  throw refused(`Datastore [${id}] needs to be of type BACKUP`);
}

export const vmActionMethods: MethodTable = {
  'one.vm.action': act,
  'one.vm.backup': backup,
  'one.vm.deploy': deployNow,
};
