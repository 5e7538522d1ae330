// What the contract needs of storages that this machine sees, whether the command reads them here or by ssh.
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContractStorage } from './contract.ts';
import { watchdogsOf, leftOfGuest, makeScene, type ExportScene } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { makeRemoteScene } from './remote-scene.ts';

/** Who exports: the command on this machine, the command by ssh, or oned by its driver actions. */
export type How = 'here' | 'host' | 'oned';

/**
 * A scene for exports on this machine, or on one that is reached by ssh under an account that gets these VMs, with
 * `more` folders and files. They are powered off then.
 */
export async function sceneAt(
  how: How,
  { uri, datastores }: { readonly uri: string; readonly datastores: string },
  vms: readonly { readonly vm: LabVm; readonly more: readonly string[] }[],
): Promise<ExportScene> {
  if (how !== 'host') {
    return await makeScene({
      ONEVMDUMP_DATASTORE_LOCATION: datastores,
      ONEVMDUMP_LIBVIRT_URI: uri,
    });
  }
  const scene = await makeRemoteScene({ uri, datastores });
  for (const { vm, more } of vms) {
    if (await vm.isRunning()) await vm.powerOff();
    await scene.give(vm, more);
  }
  return scene;
}

/** What is alike for all storages that this machine sees. */
export function local(
  scene: ExportScene,
  vm: LabVm,
): Omit<ContractStorage, 'formats' | 'foreign' | 'traces' | 'close'> {
  return {
    vm,
    exportVm: (args, env) => scene.exportOf(vm, args, env ? { env } : {}),
    extracted: async (bundle, body) => {
      const result = await scene.extracted(bundle, async (out) => {
        await rename(scene.pathOf(bundle), join(out, 'bundle'));
        return await body(out);
      });
      return result;
    },
    removeBundles: () => scene.removeBundles(),
    watchdogs: () => watchdogsOf(vm),
    cleanup: () => scene.onevmdump(['cleanup']),
    standIns: () => scene.standIns(),
  };
}

/** What an export may have left of a guest that runs. */
export async function guestTraces(vm: LabVm): Promise<object> {
  return (await vm.isRunning()) ? await leftOfGuest(vm) : { state: 'off' };
}

/** A file for as long as `body` runs. */
export async function temporary<T>(
  scene: ExportScene,
  body: (path: string) => Promise<T>,
): Promise<T> {
  const out = await mkdtemp(join(scene.folder, 'foreign-'));
  try {
    return await body(join(out, 'disk'));
  } finally {
    await rm(out, { recursive: true });
  }
}
