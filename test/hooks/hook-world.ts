// The built hook run as the hook manager runs it, against a sandbox with VMs whose disks are real files.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runToEnd, type Ended } from '../support/shell.ts';
import { fileVm } from '../support/file-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

export const hook = new URL('../../dist/hooks/export', import.meta.url).pathname;

export interface HookWorld extends World {
  /** A powered-off VM with one raw disk, known to the sandbox, whose last host has this name. */
  makeVm(vmId: number, userTemplate?: string, hostname?: string): Promise<void>;
  /** The VM's XML as a hook gets it on stdin: base64 on one line without its end. */
  hookInput(vmId: number): string;
  /** Runs the hook on a VM, or on any input. */
  runHook(
    input: number | string,
    options?: {
      readonly args?: readonly string[];
      readonly env?: NodeJS.ProcessEnv;
      readonly started?: (pid: number) => void;
    },
  ): Promise<Ended>;
  /** Names in the folder of the hooks' bundles, sorted. */
  bundleNames(): Promise<string[]>;
}

export async function makeHookWorld(): Promise<HookWorld> {
  const world = await makeWorld();
  const hookInput = (vmId: number) =>
    Buffer.from(world.sandbox.prettyVmXml(vmId)).toString('base64');
  const env = { ...world.env, ONEVMDUMP_HOOK_DESTINATION: world.bundles };
  await mkdir(world.bundles, { recursive: true });
  return {
    ...world,
    async makeVm(
      vmId,
      userTemplate = '<ONEVMDUMP_EXPORT>YES</ONEVMDUMP_EXPORT>',
      hostname = 'localhost',
    ) {
      const vm = await fileVm(world.datastores, vmId, [{ id: 0 }], { userTemplate });
      await writeFile(vm.path(0), randomBytes(1024 * 1024));
      world.sandbox.addVm(vm.xml.replace('localhost', hostname));
    },
    hookInput,
    runHook: (input, { args = [], env: more, started } = {}) =>
      runToEnd(hook, args, {
        env: { ...env, ...more },
        input: typeof input === 'number' ? hookInput(input) : input,
        ...(started ? { started } : {}),
      }),
    bundleNames: async () => (await readdir(world.bundles)).sort(),
  };
}

/** The unfinished and temporary files of runs that have ended. */
export async function leftOf(world: HookWorld): Promise<string[]> {
  const claims = await readdir(join(world.folder, 'state/claims')).catch(() => []);
  const others = await world.leftovers();
  return [...claims, ...others.filter((path) => !/onevmdump-\d+-\d+\.tar\.gz$/.test(path))];
}
