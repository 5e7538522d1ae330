// What the contract needs of storages that this machine sees.
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeStandIns } from '../e2e/stand-ins.ts';
import type { ContractStorage } from './contract.ts';
import { guardsOf, leftOfGuest, type ExportScene } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';

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
        await rename(bundle, join(out, 'bundle'));
        return await body(out);
      });
      return result;
    },
    removeBundles: () => scene.removeBundles(),
    guards: () => guardsOf(vm),
    cleanup: () => scene.onevmdump(['cleanup']),
    standIns: () => makeStandIns(scene.folder),
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
