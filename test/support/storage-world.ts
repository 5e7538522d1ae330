// Datastores in a temporary folder, VMs with files in them, and a run to read them with.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Setting } from '../../lib/config/setting.ts';
import { silent } from '../../lib/report/progress.ts';
import type { Journal } from '../../lib/run/journal.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Run } from '../../lib/run/run.ts';
import type { Command, Runner } from '../../lib/run/runner.ts';
import type { Undo } from '../../lib/run/undo.ts';
import { snapshotDisks } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import type { Disk, Vm } from '../../lib/vm/vm.ts';
import { quiet, wholeDisk } from './nbd-servers.ts';

export const MiB = 1024 * 1024;

export interface World {
  /** The datastore location; 0 is the system datastore, 1 an image datastore. */
  readonly location: string;
  /** The folder around it, which is outside of every datastore. */
  readonly outside: string;
  /** The folder of VM 7. */
  readonly vmFolder: string;
  readonly run: Run;
  /** What was recorded and not done yet. */
  readonly undone: () => readonly Undo[];
  /** Everything that was run, in order: programs with their arguments. */
  readonly commands: readonly Command[];
}

/** The defaults of all settings, but for these: what stands in the configuration file, by the key. */
export function settingsWith(texts: Readonly<Record<string, string>>): Run['settings'] {
  return ((table: Readonly<Record<string, Setting<unknown>>>) =>
    Object.fromEntries(
      Object.entries(table).map(([name, { key, default: text, parse }]) => [
        name,
        parse(texts[key] ?? text),
      ]),
    )) as Run['settings'];
}

/** A world for as long as `body` runs. */
export async function inWorld(
  body: (world: World) => Promise<void>,
  options: { readonly signal?: AbortSignal; readonly allowed?: readonly string[] } = {},
): Promise<void> {
  const outside = await mkdtemp(join(tmpdir(), 'onevmdump-test-'));
  try {
    const location = join(outside, 'datastores');
    const vmFolder = join(location, '0', '7');
    mkdirSync(vmFolder, { recursive: true });
    mkdirSync(join(location, '1'));
    const pending = new Set<Undo>();
    const journal: Journal = {
      runId: 'test',
      record(undo) {
        pending.add(undo);
        return Promise.resolve({
          done: () => {
            pending.delete(undo);
            return Promise.resolve();
          },
        });
      },
      allDone: async (entries) => {
        for (const entry of entries) await entry.done();
      },
      undoAll: () => Promise.resolve(),
      hold: () => Promise.resolve(),
    };
    const commands: Command[] = [];
    const run: Run = {
      runner: recording(localRunner(quiet, options.signal), commands),
      runnerAt: () => localRunner(quiet, options.signal),
      journal,
      log: quiet,
      progress: silent,
      signal: options.signal ?? new AbortController().signal,
      datastoreLocation: location,
      libvirtUri: 'test:///default',
      settings: settingsWith({
        ALLOWED_BACKING_DIRS: (options.allowed ?? []).map((name) => join(outside, name)).join(':'),
      }),
    };
    const undone = (): Undo[] => [...pending];
    await body({ location, outside, vmFolder, run, undone, commands });
  } finally {
    await rm(outside, { recursive: true, force: true });
  }
}

function recording(runner: Runner, commands: Command[]): Runner {
  return {
    ...runner,
    run(command, options) {
      commands.push(command);
      return runner.run(command, options);
    },
    start(command) {
      commands.push(command);
      return runner.start(command);
    },
  };
}

export function disk(id: number, facts: Partial<Disk> = {}): Disk {
  return {
    ...{ id, type: 'FILE', format: 'raw', driver: undefined, tmMad: 'ssh', source: undefined },
    ...{
      imageId: 1,
      image: 'one',
      imageUname: undefined,
      datastoreId: 1,
      sizeMb: 1,
      originalSizeMb: undefined,
    },
    ...{ target: 'vda', devPrefix: 'vd', persistent: false, readonly: false },
    ...{ clone: true, shareable: false, diskType: undefined },
    ...{ cephUser: undefined, cephKey: undefined, cephConf: undefined, poolName: undefined },
    xml: {} as Disk['xml'],
    ...facts,
  };
}

/** VM 7, powered off, on system datastore 0. */
export function vm(disks: readonly Disk[], facts: Partial<Vm> = {}): Vm {
  const known = {
    ...{ id: 7, name: 'seven', uid: 0, gid: 0, uname: undefined, gname: undefined },
    ...{
      state: 8,
      lcmState: 0,
      deployId: undefined,
      lock: undefined,
      previous: undefined,
      uuid: undefined,
      stime: undefined,
      disks,
    },
    tmMadSystem: undefined,
    history: { seq: 0, stime: undefined, hostname: 'localhost', tmMad: 'ssh', datastoreId: 0 },
    template: {} as Vm['template'],
    userTemplate: {} as Vm['userTemplate'],
    xmlBytes: Buffer.alloc(0),
    ...facts,
  } satisfies Partial<Vm>;
  // What no storage looks at is left out.
  return known as Partial<Vm> as Vm;
}

/** Dumps the only disk of a VM and returns all its bytes. */
export async function dumpOf(world: World, one: Disk): Promise<Buffer> {
  const { disks } = await snapshotDisks(planDumps(vm([one]), new Map()), world.run);
  const reader = await disks[0]!.open();
  try {
    return await wholeDisk(reader);
  } finally {
    await reader.close();
  }
}

/** Random data at the given places (offset, length) of an otherwise empty file. */
export async function rawFile(
  path: string,
  size: number,
  data: readonly (readonly [number, number])[] = [],
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const file = await open(path, 'w');
  for (const [offset, length] of data) await file.write(randomBytes(length), 0, length, offset);
  await file.truncate(size);
  await file.close();
}

export function qemuImg(...args: readonly string[]): void {
  execFileSync('qemu-img', [...args], { stdio: ['ignore', 'ignore', 'pipe'] });
}

export function qemuIo(path: string, ...commands: readonly string[]): void {
  const args = commands.flatMap((command) => ['-c', command]);
  execFileSync('qemu-io', ['-f', 'qcow2', ...args, path], { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** The disk as qemu-img sees it, by the way OpenNebula opens it. */
export function asQemuSees(world: World, format: string, path: string): Buffer {
  const copy = join(world.outside, 'as-qemu-sees');
  qemuImg('convert', '-f', format, '-O', 'raw', path, copy);
  return readFileSync(copy);
}

/** As OpenNebula's TM qcow2 clones an image: disk.N -> disk.N.snap/0, backed by the image. */
export function cloneAsQcow2Tm(
  world: World,
  diskId: number,
  image: string,
  format: string,
): string {
  const link = join(world.vmFolder, `disk.${diskId}`);
  const snap = `${link}.snap`;
  mkdirSync(snap);
  qemuImg('create', '-f', 'qcow2', '-o', `backing_fmt=${format}`, '-b', image, join(snap, '0'));
  symlinkSync('.', join(snap, `disk.${diskId}.snap`));
  symlinkSync(`disk.${diskId}.snap/0`, link);
  return link;
}
