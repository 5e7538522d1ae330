// Where a VM goes and what happens there: PROLOG, the disks' files, RUNNING. No guest runs behind it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getDatastore } from './datastores.ts';
import { makeDiskFiles, vmFolder } from './disk-files.ts';
import { getVm, newHistory, setVmState, vmState } from './vm.ts';
import type { Vm } from './vm.ts';
import { isVolatile, volatileAttributes } from './vm-disks.ts';
import { now } from './world.ts';
import type { World } from './world.ts';

/** The scheduler's choice: SCHED_DS_REQUIREMENTS with an ID, else the system datastore of the disks' TM. */
export function scheduledDatastore(world: World, vm: Vm): number {
  const wanted = /\bID\s*=\s*"?(\d+)/.exec(vm.userTemplate.get('SCHED_DS_REQUIREMENTS') ?? '')?.[1];
  if (wanted !== undefined && world.datastores.get(Number(wanted))?.system) return Number(wanted);
  const tm = vm.template
    .vectors('DISK')
    .map((disk) => disk.get('TM_MAD_SYSTEM') ?? disk.get('TM_MAD'));
  return tm.includes('qcow2') ? 100 : 0;
}

/** Finds a host for a VM, which takes the scheduler its time, and deploys it there. */
export async function schedule(world: World, vm: Vm): Promise<void> {
  setVmState(vm, vmState.pending);
  await world.pause(world.schedulerMs);
  if (vm.state !== vmState.pending[0]) return;
  await deploy(world, vm.id, vm.history.at(-1)?.datastoreId ?? scheduledDatastore(world, vm));
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
    await makeNvram(vm, folder);
  } catch (error) {
    vm.userTemplate.replace('ERROR', `PROLOG: ${(error as Error).message.split('\n')[0] ?? ''}`);
    setVmState(vm, vmState.prologFailure);
    return;
  }
  history.petime = now();
  const uuid = vm.template.vectors('OS')[0]?.get('UUID') ?? `one-${vmId}`;
  const twin = [...world.vms.values()].find(
    (one) => one !== vm && isUp(one) && one.deployId === uuid,
  );
  if (twin) {
    const why = `operation failed: domain 'one-${twin.id}' already exists with uuid ${uuid}`;
    vm.userTemplate.replace('ERROR', `DEPLOY: error: Failed to create domain: ${why}`);
    setVmState(vm, vmState.bootFailure);
    return;
  }
  history.rstime = now();
  vm.deployId = uuid;
  const graphics = vm.template.vectors('GRAPHICS')[0];
  if (graphics && !graphics.get('PORT')) graphics.set('PORT', String(5900 + vmId));
  setVmState(vm, vmState.running);
}

/** `cp -n` of empty UEFI variables: src/vmm_mad/remotes/kvm/deploy of 6.4.7 to 7.4.0, path from LibVirtDriverKVM.cc. */
async function makeNvram(vm: Vm, folder: string): Promise<void> {
  const firmware = vm.template.vectors('OS')[0]?.get('FIRMWARE') ?? '';
  if (firmware === '' || /^(BIOS|UEFI)$/i.test(firmware)) return;
  await writeFile(join(folder, `${vm.name}_VARS.fd`), 'empty', { flag: 'wx' }).catch(
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    },
  );
}

function isUp({ state, lcmState }: Vm): boolean {
  return state === vmState.running[0] && lcmState !== vmState.prolog[1];
}
