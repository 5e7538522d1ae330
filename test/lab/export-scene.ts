// What the tests of exports from real storages share: the built command with folders of its own, what a
// bundle holds, and what an export may have left.
import { expect } from '@jest/globals';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runToEnd, type Ended } from '../support/shell.ts';
import { makeStandIns, type StandIns } from '../support/fake-programs.ts';
import type { LabVm } from './lab-vm.ts';
import { readNumbers, type Numbers } from './numbers.ts';
import { runProgram } from './program.ts';
import { until } from '../support/limits.ts';

export const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;

/** As much of the --json report as tests look at. */
export interface Report {
  readonly bundle: string;
  /** Bytes of the bundle. */
  readonly size: number;
  readonly disks: readonly { readonly dataBytes: number; readonly virtualSize: number }[];
  readonly consistency: { readonly level: string; readonly frozenMs: number };
}

export interface ExportOptions {
  /** Added to the command's environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** Instead of the VM's own. */
  readonly xml?: string;
  readonly started?: (pid: number) => void;
}

export interface ExportScene {
  /** Everything of this scene lies here. */
  readonly folder: string;
  /** Where bundles go. */
  readonly bundles: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs the command with these words. */
  onevmdump(args: readonly string[]): Promise<Ended>;
  /** Exports a VM from its XML, without OpenNebula. */
  exportOf(vm: LabVm, args?: readonly string[], options?: ExportOptions): Promise<Ended>;
  /** An export that is slow, and what is done as soon as it reads the disks. */
  whileReading(vm: LabVm, act: (pid: number) => unknown): Promise<Ended>;
  /** The path of a bundle that an export has named; where it lies on another host, all is on this machine, too. */
  pathOf(bundle: string): string;
  /** Extracts a bundle by GNU tar into a new folder, which `body` may use. */
  extracted<T>(bundle: string, body: (folder: string) => Promise<T>): Promise<T>;
  /** Both disks the guest writes to, in a bundle. */
  numbersIn(bundle: string, format0?: 'raw' | 'qcow2'): Promise<{ vda: Numbers; vdb: Numbers }>;
  /** Journals and part files that an export has left. */
  leftHere(): Promise<{ journals: string[]; parts: string[] }>;
  /** The same, bundles, and where hosts are involved, what there is of connections and on them. */
  left(): Promise<object>;
  /** The stand-ins of the end-to-end tests, wherever the command runs programs. */
  standIns(): Promise<StandIns>;
  removeBundles(): Promise<void>;
  close(): Promise<void>;
}

/** A scene; `more` environment, and `words` for each export, say where the disks are. */
export async function makeScene(
  more: NodeJS.ProcessEnv,
  words: readonly string[] = [],
): Promise<ExportScene> {
  const folder = await mkdtemp('/var/tmp/onevmdump-scene-');
  const bundles = join(folder, 'bundles');
  await mkdir(bundles);
  await mkdir(join(folder, 'tmp'));
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: folder,
    TMPDIR: join(folder, 'tmp'),
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_DESTINATION: bundles,
    ...more,
  };
  const scene: ExportScene = {
    folder,
    bundles,
    env,
    onevmdump: (args) => runToEnd(onevmdump, args, { env }),
    async exportOf(vm, args = [], options = {}) {
      const { xml = await vm.xml(), ...rest } = options;
      const all = ['export', '--stdin', '--no-lock', '--json', ...words, ...args];
      return runToEnd(onevmdump, all, {
        ...rest,
        env: { ...env, ...options.env },
        input: xml,
      });
    },
    async whileReading(vm, act) {
      let acted: Promise<unknown> = Promise.resolve();
      const ended = await scene.exportOf(vm, ['--compress', 'gzip:9'], {
        started: (pid) => {
          acted = partAppears(bundles).then(() => act(pid));
        },
      });
      await acted;
      return ended;
    },
    pathOf: (bundle) => bundle.replace(/^[^/:]*:/, ''),
    async extracted(bundle, body) {
      const out = await mkdtemp(join(folder, 'out-'));
      try {
        await runProgram('tar', ['-xzf', scene.pathOf(bundle), '-C', out]);
        return await body(out);
      } finally {
        await rm(out, { recursive: true });
      }
    },
    numbersIn: (bundle, format0 = 'qcow2') =>
      scene.extracted(bundle, async (out) => {
        const [disk0, disk1] = [join(out, 'backup.disk.0'), join(out, 'backup.disk.1')];
        if (format0 === 'qcow2') await runProgram('qemu-img', ['check', '-f', 'qcow2', disk0]);
        return { vda: await readNumbers(disk0, format0), vdb: await readNumbers(disk1, 'raw') };
      }),
    async leftHere() {
      const journals = await readdir(join(folder, 'state', 'journal')).catch(() => []);
      const parts = (await readdir(bundles)).filter((name) => name.endsWith('.part'));
      return { journals, parts };
    },
    left: async () => ({ ...(await scene.leftHere()), bundles: await readdir(bundles) }),
    standIns: () => makeStandIns(folder),
    async removeBundles() {
      for (const name of await readdir(bundles)) await rm(join(bundles, name));
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
  return scene;
}

/** The report of an export that succeeded. */
export function reportOf({ code, stdout, stderr }: Ended): Report {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

/** Waits until the guest writes on, which takes it a moment. */
export async function expectWriting(vm: LabVm): Promise<void> {
  const before = await vm.lastNumber();
  await until(`${vm.domain} writes`, async () => (await vm.lastNumber()) !== before);
}

/** What an export may have left of a running VM in libvirt and among the processes. */
export async function leftOfGuest(vm: LabVm): Promise<object> {
  return {
    job: (await vm.virsh('domjobinfo', vm.domain)).trim().split(/\s+/).at(-1),
    watchdogs: await watchdogsOf(vm),
    spaceWatches: await processesOf(vm, 'onevmdump-space-'),
    state: (await vm.virsh('domstate', vm.domain)).trim(),
    frozen: await vm.isFrozen(),
  };
}

/** The processes of this machine that see to it that the guest of a VM goes on. */
export async function watchdogsOf(vm: LabVm): Promise<readonly string[]> {
  return await processesOf(vm, 'onevmdump-guard-');
}

/** The processes that watch the free space for an export of a VM, without their short-lived children. */
export async function spaceWatchesOf(vm: LabVm): Promise<readonly number[]> {
  const lines = await processesOf(vm, 'onevmdump-space-', 'pid,sid,args');
  const ids = lines.map((line) => line.trim().split(/\s+/).map(Number));
  return ids.flatMap(([pid = 0, session]) => (pid === session ? [pid] : []));
}

async function processesOf(vm: LabVm, word: string, columns = 'args'): Promise<readonly string[]> {
  const processes = (await runProgram('ps', ['-eo', columns])).split('\n');
  // Another lab can have a VM of the same name; libvirt's socket, which watchdogs name, lies in its folder.
  const lab = process.env['ONEVMDUMP_LAB'] ?? '/var/tmp/onevmdump-lab';
  const names = [vm.domain, (await vm.virsh('domuuid', vm.domain)).trim()];
  return processes.filter(
    (line) =>
      line.includes(word) && line.includes(lab) && names.some((name) => line.includes(` ${name} `)),
  );
}

/** What `leftOfGuest` says of a guest that is as before. */
export const asBefore = {
  ...{ job: 'None', watchdogs: [], spaceWatches: [] },
  ...{ state: 'running', frozen: false },
};

/** A virsh for PATH, in `bin`, that runs lines of bash before and after the real one. */
export async function virshThat(
  bin: string,
  { before = '', after = '' }: { before?: string; after?: string },
): Promise<NodeJS.ProcessEnv> {
  await mkdir(bin, { recursive: true });
  const real = (await runProgram('bash', ['-c', 'type -P virsh'])).trim();
  const script = `#!/bin/bash\n${before}\n'${real}' "$@"\nstatus=$?\n${after}\nexit $status\n`;
  await runProgram('tee', [join(bin, 'virsh')], { input: script });
  await runProgram('chmod', ['755', join(bin, 'virsh')]);
  return { PATH: `${bin}:${process.env['PATH'] ?? ''}` };
}

async function partAppears(bundles: string): Promise<void> {
  const begun = async () => (await readdir(bundles)).some((name) => name.endsWith('.part'));
  await until('an export begins', begun, 10);
}
