// A runner that answers as LVM does with volume groups, over one that answers as libvirt does. It notes what is
// changed, in order.
import { PassThrough } from 'node:stream';
import { CommandError } from '../../lib/report/errors.ts';
import type { Command, Output, Runner, RunOptions } from '../../lib/run/runner.ts';

export interface FakeVolume {
  /** Unique in all groups. */
  readonly name: string;
  /** Default: the first group. */
  readonly group?: string;
  readonly mb: number;
  readonly active?: boolean;
  readonly open?: boolean;
  readonly pool?: string;
  readonly origin?: string;
  /** In percent: how full it is, how much of it is mapped. */
  readonly data?: number;
  readonly metadata?: number;
  readonly invalid?: boolean;
  readonly health?: string;
  readonly isPool?: boolean;
  /** How often it has been written to, as the kernel counts it. */
  readonly writes?: number;
}

export interface FakeLvm {
  readonly runner: Runner;
  readonly volumes: Map<string, FakeVolume>;
  /** lvchange, lvcreate and lvremove with their arguments. */
  readonly changes: string[];
  /** All programs of LVM as they were run, `sudo -n` with them. */
  readonly lines: string[];
  /** OpenNebula's locks that are held. What changes the group without them fails. */
  readonly locks: Set<string>;
}

export interface FakeLvmFacts {
  /** The first group, whose volumes are those of TM fs_lvm. */
  readonly group: string;
  /** More groups, whose volumes are those of TM lvm. */
  readonly lvmGroups?: readonly string[];
  /** What the links `disk.<id>` in the VM's folder lead to, as <group>/<volume>; default: TM fs_lvm's. */
  readonly links?: Readonly<Record<string, string>>;
  readonly volumes: readonly FakeVolume[];
  readonly freeMb?: number;
  readonly user?: number;
  /** Gets each line first; what it throws is what the program says. */
  readonly meddle?: (line: string) => void;
  /** Gets the name of each of OpenNebula's locks first; what it throws is why it cannot be had. */
  readonly meddleLock?: (name: string) => void;
  /** Devices we may not read. */
  readonly unreadable?: readonly string[];
  /** Whether this machine is OpenNebula's front-end. */
  readonly frontEnd?: boolean;
}

const MiB = 1024 * 1024;

export function fakeLvm(
  under: Runner,
  {
    group,
    lvmGroups = [],
    links = {},
    volumes: list,
    freeMb = 10_000,
    user = 0,
    meddle,
    meddleLock,
    unreadable = [],
    frontEnd = true,
  }: FakeLvmFacts,
): FakeLvm {
  const volumes = new Map(list.map((one) => [one.name, one]));
  const changes: string[] = [];
  const lines: string[] = [];
  const locks = new Set<string>();
  const groups = [group, ...lvmGroups];
  const groupOf = (one: FakeVolume): string => one.group ?? group;
  /** The locks of OpenNebula's drivers: on the front-end and on the host, which are one machine here. */
  const locksOf = (name: string): readonly string[] =>
    name === group
      ? [`tm-fs_lvm-${group.replace('vg-one-', '')}.lock`, `tm-onelvm-${group}.lock`]
      : [`tm-onelvm-${name}.lock`];

  const named = (path: string): FakeVolume => {
    const [, name = ''] = path.split('/');
    const found = volumes.get(name);
    if (!found || path !== `${groupOf(found)}/${name}`)
      throw new Error(`Failed to find logical volume "${path}"`);
    return found;
  };

  const answers: Record<string, (args: readonly string[]) => string> = {
    lvs(args) {
      const name = args.at(-1) ?? '';
      if (!groups.includes(name)) throw new Error(`Volume group "${name}" not found`);
      const all = [...volumes.values()].filter((one) => groupOf(one) === name);
      const lv = all.map((one) => row(one, all, freeMb));
      return JSON.stringify({ report: [{ lv }] });
    },
    lvchange(args) {
      const one = named(args.at(-1) ?? '');
      if (args.includes('-an')) {
        if (one.open) throw new Error(`${one.name} in use`);
        const snapshots = [...volumes.values()].filter(
          ({ origin, pool }) => origin === one.name && pool === undefined,
        );
        if (snapshots.some(({ open }) => open)) throw new Error(`LV ${one.name} has open snapshot`);
        // Thick snapshots come and go with their origin.
        for (const snapshot of snapshots)
          volumes.set(snapshot.name, { ...snapshot, active: false });
      }
      volumes.set(one.name, { ...one, active: args.includes('-ay') });
      return '';
    },
    lvcreate(args) {
      const origin = named(args.at(-1) ?? '');
      const name = args[args.indexOf('--name') + 1] ?? '';
      const extents = Number(args[args.indexOf('--extents') + 1]);
      const thin = origin.pool !== undefined;
      volumes.set(name, {
        ...{ name, group: groupOf(origin), origin: origin.name, active: !thin, data: 0 },
        ...(thin ? { pool: origin.pool, mb: origin.mb } : { mb: extents * 4 }),
      });
      return '';
    },
    lvremove(args) {
      volumes.delete(named(args.at(-1) ?? '').name);
      return '';
    },
    id: () => `${user}\n`,
    test(args) {
      if (args.at(-1)?.endsWith('/oned.conf') === true && !frontEnd) throw new Error('');
      if (unreadable.includes(args.at(-1) ?? '')) throw new Error('');
      return '';
    },
  };

  /** What one program prints; undefined for one that is not LVM's. @throws Error with what it says */
  const printed = (command: Command): string | undefined => {
    const sudo = command.program === 'sudo';
    const [program = '', ...args] = sudo
      ? command.args.slice(1)
      : [command.program, ...command.args];
    const known = answers[program];
    if (!known) return undefined;
    const line = [program, ...args].join(' ');
    if (program.startsWith('lv')) lines.push([command.program, ...command.args].join(' '));
    meddle?.(line);
    if (program.startsWith('lv') && program !== 'lvs') {
      const needed = locksOf(groupOf(named(args.at(-1) ?? '')));
      if (needed.some((name) => !locks.has(name))) throw new Error(`${line} without a lock`);
      changes.push(line);
    }
    return known(args);
  };

  /** As `inARow` makes them: the number of words, then the words. */
  const inTurn = (words: readonly string[]): Output => {
    for (let at = 0, left = [...words]; left.length > 0; at++) {
      const [program = '', ...args] = left.slice(1, Number(left[0]) + 1);
      left = left.slice(Number(left[0]) + 1);
      try {
        printed({ program, args });
      } catch (error) {
        const stderr = error instanceof Error ? error.message : String(error);
        return { ...answer(`${at} 5`), stderr };
      }
    }
    return answer('');
  };

  const runner: Runner = {
    ...under,
    async run(command: Command, options: RunOptions = {}): Promise<Output> {
      const { program, args } = command;
      if (program === 'realpath') return answer(realPaths(args));
      const last = args.at(-1) ?? '';
      if (program === 'stat' && groups.some((one) => last.startsWith(`/dev/${one}/`)))
        return deviceNumbers(last);
      if (program === 'cat' && last.startsWith('/sys/dev/block/')) return blockStat(last);
      if (program === 'sh' && /^\d+$/.test(args[3] ?? '')) return inTurn(args.slice(3));
      try {
        const text = printed(command);
        return text === undefined ? await under.run(command, options) : answer(text);
      } catch (error) {
        if (error instanceof CommandError) throw error;
        const stderr = error instanceof Error ? error.message : String(error);
        if (options.acceptStatus?.includes(1))
          return { status: 1, stdout: Buffer.alloc(0), stderr };
        const name = program === 'sudo' ? (args[1] ?? '') : program;
        const text = `cannot ${options.doing ?? 'do it'}: ${name}: ${stderr}`;
        throw new CommandError(text, { command: [name, ...args].join(' '), status: 5, stderr });
      }
    },
    startPiped(command) {
      const name = command.args[4];
      if (name?.endsWith('.lock') !== true) return under.startPiped(command);
      const stdin = new PassThrough();
      const stdout = new PassThrough();
      try {
        meddleLock?.(name);
      } catch (error) {
        const stderr = error instanceof Error ? error.message : String(error);
        stdout.end();
        const ended = Promise.resolve({ status: 1, stderr });
        return Promise.resolve({ pid: 1, ended, stdin, stdout, stop: () => Promise.resolve() });
      }
      if (locks.has(name)) throw new Error(`${name} would be waited for for ever`);
      locks.add(name);
      stdout.write('locked\n');
      const ended = new Promise<{ status: number; stderr: string }>((resolve) => {
        stdin.resume().once('end', () => {
          locks.delete(name);
          stdout.end();
          resolve({ status: 0, stderr: '' });
        });
      });
      return Promise.resolve({ pid: 1, ended, stdin, stdout, stop: () => Promise.resolve() });
    },
  };
  return { runner, volumes, changes, lines, locks };

  /** In hex: the mode of a block device, the numbers of the device mapper, and one after another. */
  function deviceNumbers(path: string): Output {
    const { name, active } = named(path.slice('/dev/'.length));
    if (!active) throw new Error(`${path} is not there`);
    return answer(`61b0 fd ${[...volumes.keys()].indexOf(name).toString(16)}`);
  }

  /** As the kernel has it: reads and writes with their merges, sectors and milliseconds, three of the queue, discards. */
  function blockStat(path: string): Output {
    const minor = /^\/sys\/dev\/block\/253:(\d+)\/stat$/.exec(path)?.[1];
    const found = [...volumes.values()].at(Number(minor));
    if (minor === undefined || !found) throw new Error(`${path} is not there`);
    const { writes = 0 } = found;
    return answer(`  17 0 ${17 * 8} 3 ${writes} 0 ${writes * 8} 5 0 8 8 0 0 0 0\n`);
  }

  /** Links in the VM's folder lead to the devices. */
  function realPaths(args: readonly string[]): string {
    const paths = args.slice(args.indexOf('--') + 1);
    return paths
      .map((path) =>
        path.replace(
          /^.*\/0\/7\/disk\.(\d+)$/,
          (_, id: string) => `/dev/${links[id] ?? `${group}/lv-one-7-${id}`}`,
        ),
      )
      .filter((path) => path.startsWith('/dev/'))
      .map((path) => `${path}\0`)
      .join('');
  }
}

function answer(text: string): Output {
  return { status: 0, stdout: Buffer.from(text), stderr: '' };
}

/**
 * As lvs 2.03.16 prints it. A pool that is only used by its volumes is not active itself, and how full anything is, it
 * says only of what is in use.
 */
function row(one: FakeVolume, all: readonly FakeVolume[], freeMb: number): Record<string, string> {
  const thin = one.pool !== undefined;
  const isUsed = one.isPool
    ? all.some(({ pool, active }) => pool === one.name && active)
    : one.active;
  const layout = one.isPool ? 'thin,pool' : thin ? 'thin,sparse' : 'linear';
  const percent = (value: number | undefined): string =>
    isUsed && value !== undefined ? value.toFixed(2) : '';
  return {
    lv_name: one.name,
    lv_size: String(one.mb * MiB),
    lv_active: one.active && !one.isPool ? 'active' : '',
    lv_device_open: one.open ? 'open' : one.active && !one.isPool ? '' : 'unknown',
    lv_layout: layout,
    lv_role: one.origin === undefined ? 'public' : 'public,snapshot',
    origin: one.origin ?? '',
    pool_lv: one.pool ?? '',
    data_percent: percent(one.data),
    metadata_percent: percent(one.metadata),
    lv_snapshot_invalid: one.invalid
      ? 'snapshot invalid'
      : one.origin === undefined
        ? 'unknown'
        : '',
    lv_health_status: one.health ?? '',
    vg_extent_size: String(4 * MiB),
    vg_free: String(freeMb * MiB),
  };
}
