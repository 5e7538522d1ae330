// Exports of VMs whose disks are RBD images, by the built command against a real Ceph and libvirt: with snapshots of the
// images, also where one backup job would be the default.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runToEnd, type Ended } from '../support/shell.ts';
import { downCeph, upCeph, type CephLab } from './ceph.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { readNumbers, sameInstant, type Numbers } from './numbers.ts';
import { runProgram } from './program.ts';
import { until } from '../support/limits.ts';

const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;

interface Report {
  readonly bundle: string;
  readonly consistency: { readonly level: string; readonly frozenMs: number };
}

let libvirt: LibvirtLab;
let lab: CephLab;
let folder: string;
let bundles: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  lab = await upCeph();
  libvirt = await upLibvirt();
  folder = await mkdtemp('/var/tmp/onevmdump-ceph-');
  bundles = join(folder, 'bundles');
  await mkdir(bundles);
  await mkdir(join(folder, 'tmp'));
  env = {
    PATH: process.env['PATH'],
    HOME: folder,
    TMPDIR: join(folder, 'tmp'),
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_DESTINATION: bundles,
    ONEVMDUMP_LIBVIRT_URI: libvirt.uri,
    ONEVMDUMP_SNAPSHOT: 'storage',
  };
  for (const vm of [lab.vm, lab.mixed]) if (await vm.isRunning()) await vm.destroy();
  // A run of these tests that failed may have left some.
  for (const spec of await ourSnapshots()) await lab.rbd('snap', 'rm', '--no-progress', spec);
});

afterAll(async () => {
  for (const vm of [lab.vm, lab.mixed]) if (await vm.isRunning()) await vm.destroy();
  await rm(folder, { recursive: true, force: true });
  if (libvirt.startedNow) await downLibvirt();
  if (lab.startedNow) await downCeph();
});

afterEach(async () => {
  for (const name of await readdir(bundles)) await rm(join(bundles, name));
});

async function exportOf(
  vm: LabVm,
  args: readonly string[] = [],
  options: { env?: NodeJS.ProcessEnv; xml?: string; started?: (pid: number) => void } = {},
): Promise<Ended> {
  const { xml, ...rest } = options;
  return runToEnd(onevmdump, ['export', '--stdin', '--no-lock', '--json', ...args], {
    ...rest,
    env: { ...env, ...options.env },
    input: xml ?? (await vm.xml()),
  });
}

function reportOf({ code, stdout, stderr }: Ended): Report {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

/** Extracts a bundle by GNU tar for as long as `body` runs. */
async function extracted<T>(bundle: string, body: (disk: (id: number) => string) => Promise<T>) {
  const out = await mkdtemp(join(folder, 'out-'));
  try {
    await runProgram('tar', ['-xzf', bundle, '-C', out]);
    return await body((id) => join(out, `backup.disk.${id}`));
  } finally {
    await rm(out, { recursive: true });
  }
}

function numbersIn(bundle: string): Promise<{ vda: Numbers; vdb: Numbers }> {
  return extracted(bundle, async (disk) => ({
    vda: await readNumbers(disk(0), 'raw'),
    vdb: await readNumbers(disk(1), 'raw'),
  }));
}

/** Compares a bundle's disks with what rbd itself exports. */
function expectSameAsRbd(bundle: string, images: readonly string[]): Promise<void> {
  return extracted(bundle, async (disk) => {
    for (const [id, image] of images.entries()) {
      const copy = join(folder, 'as-rbd-exports');
      await lab.rbd('export', '--no-progress', image, copy);
      await runProgram('cmp', [copy, disk(id)]);
      await rm(copy);
    }
  });
}

/** The snapshots of ours on the images of both VMs. */
async function ourSnapshots(): Promise<string[]> {
  const images = [...lab.images, lab.mixedImage];
  const lists = await Promise.all(
    images.map(async (image) => {
      const list = await lab.rbd('snap', 'ls', '--format', 'json', image);
      const ours = (JSON.parse(list) as { name: string }[]).filter(({ name }) =>
        name.startsWith('onevmdump'),
      );
      return ours.map(({ name }) => `${image}@${name}`);
    }),
  );
  return lists.flat();
}

/** What an export of a VM that is off may have left. */
async function left(vm: LabVm): Promise<typeof nothing> {
  const images = [...lab.images, lab.mixedImage];
  const processes = (await runProgram('ps', ['-ww', '-eo', 'args'])).split(/\n(?=\S)/);
  return {
    snapshots: await ourSnapshots(),
    files: (await readdir(vm.folder)).filter((name) => name.startsWith('onevmdump-')),
    journals: await readdir(join(folder, 'state', 'journal')).catch(() => []),
    parts: (await readdir(bundles)).filter((name) => name.endsWith('.part')),
    processes: processes.filter(
      // Others may be using other VMs.
      (line) =>
        /onevmdump-guard-.* one-3[01] /.test(line) ||
        (line.startsWith('rbd ') && images.some((one) => line.includes(`${one}@onevmdump-`))),
    ),
  };
}

const nothing: Record<'snapshots' | 'files' | 'journals' | 'parts' | 'processes', string[]> = {
  ...{ snapshots: [], files: [], journals: [], parts: [], processes: [] },
};

async function leftOn(vm: LabVm): Promise<object> {
  return {
    ...(await left(vm)),
    job: (await vm.virsh('domjobinfo', vm.domain)).trim().split(/\s+/).at(-1),
    state: (await vm.virsh('domstate', vm.domain)).trim(),
    frozen: await vm.isFrozen(),
  };
}

const nothingOn = { ...nothing, job: 'None', state: 'running', frozen: false };

async function expectWriting(vm: LabVm): Promise<void> {
  const before = await vm.lastNumber();
  await until(`${vm.domain} writes`, async () => (await vm.lastNumber()) !== before);
}

/** A program for PATH that runs lines of bash before and after the real one. Gives the environment. */
async function standIn(
  program: string,
  { before = '', after = '' }: { before?: string; after?: string },
): Promise<{ readonly bin: string; readonly env: NodeJS.ProcessEnv }> {
  const bin = await mkdtemp(join(folder, 'bin-'));
  const real = (await runProgram('bash', ['-c', `type -P ${program}`])).trim();
  const script = `#!/bin/bash\nbin='${bin}'\n${before}\n'${real}' "$@"\nstatus=$?\n${after}\nexit $status\n`;
  await writeFile(join(bin, program), script, { mode: 0o755 });
  return { bin, env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` } };
}

/** An export that waits before it reads its first disk, and what is done then. */
async function whileReading(
  vm: LabVm,
  act: (pid: number) => unknown,
  args: readonly string[] = [],
): Promise<Ended> {
  const { bin, env: waiting } = await standIn('rbd', {
    before: `if [[ " $* " == *' export-diff '* ]]; then
  touch "$bin/reading"
  until [ -e "$bin/go" ]; do sleep 0.05; done
fi`,
  });
  let acted: Promise<unknown> = Promise.resolve();
  const goOn = async (pid: number): Promise<void> => {
    try {
      const begun = async () => (await readdir(bin)).includes('reading');
      await until(`an export of ${vm.domain} begins`, begun, 10);
      await act(pid);
    } finally {
      await writeFile(join(bin, 'go'), '');
    }
  };
  const ended = await exportOf(vm, args, {
    env: waiting,
    started: (pid) => {
      acted = goOn(pid);
    },
  });
  await acted;
  return ended;
}

describe('an export of a VM on Ceph that is powered off', () => {
  test('an export of a VM on Ceph that is powered off follows a disk that was reverted to a snapshot of its own', async () => {
    const [image] = lab.images;
    const older = `${image}-0`;
    // As tm/ceph/snap_create and snap_revert leave it.
    await lab.rbd('snap', 'create', '--no-progress', `${image}@0`);
    await lab.rbd('snap', 'protect', `${image}@0`);
    await lab.rbd('rename', image, older);
    await lab.rbd('clone', `${older}@0`, image);
    try {
      const { bundle } = reportOf(await exportOf(lab.vm));
      await expectSameAsRbd(bundle, lab.images);
      await expectSameAsRbd(bundle, [`${older}@0`]);
    } finally {
      await lab.rbd('rm', '--no-progress', image);
      await lab.rbd('rename', older, image);
      await lab.rbd('snap', 'unprotect', `${image}@0`);
      await lab.rbd('snap', 'rm', '--no-progress', `${image}@0`);
    }
    expect(await left(lab.vm)).toEqual(nothing);
  });

  test.each<[string, (xml: string, wrongKey: string) => string, string]>([
    [
      'an image that is missing',
      (xml) => xml.replace('[one/one-32]', '[one/one-99]'),
      'cannot look at the RBD image one/one-99 (disk 3 of VM 30, CEPH_USER oneadmin, CEPH_KEY ',
    ],
    [
      'a pool that is missing',
      (xml) => xml.replace('[one/one-32]', '[two/one-32]'),
      "error opening pool 'two': (2) No such file or directory",
    ],
    [
      'a wrong key',
      (xml, wrongKey) =>
        xml.replaceAll(/<CEPH_KEY>.*?<\/CEPH_KEY>/g, `<CEPH_KEY>${wrongKey}</CEPH_KEY>`),
      "couldn't connect to the cluster!",
    ],
    [
      'a user that is unknown',
      (xml) => xml.replaceAll('[oneadmin]]></CEPH_USER>', '[twoadmin]]></CEPH_USER>'),
      'CEPH_USER twoadmin',
    ],
    [
      'a configuration that is missing',
      (xml) => xml.replaceAll('ceph.conf]', 'ceph.none]'),
      'unable to open config file',
    ],
  ])(
    'an export from Ceph with %s is refused before anything is changed',
    async (_, change, message) => {
      const wrongKey = join(folder, 'wrong.key');
      await writeFile(wrongKey, await runProgram('ceph-authtool', ['--gen-print-key']));
      const { code, stderr } = await exportOf(lab.vm, [], {
        xml: change(await lab.vm.xml(), wrongKey),
      });
      expect({ code, stderr }).toEqual({
        code: 4,
        stderr: expect.stringContaining(message) as unknown,
      });
      expect(await left(lab.vm)).toEqual(nothing);
      expect(await readdir(bundles)).toEqual([]);
    },
  );

  test('an export from Ceph never shows a key', async () => {
    const key = (await readFile(lab.keyfile, 'utf8')).trim();
    const { env: recording } = await standIn('rbd', { before: 'echo "$*" >> "$bin/argv"' });
    const { stdout, stderr } = await exportOf(lab.vm, ['-D'], { env: recording });
    const [bin = ''] = recording['PATH']?.split(':') ?? [];
    const argv = await readFile(join(bin, 'argv'), 'utf8');
    expect(argv).toContain(`--id oneadmin --keyfile ${lab.keyfile} --conf ${lab.conf} info`);
    for (const text of [stdout, stderr, argv]) expect(text).not.toContain(key);
  });
});

describe('an export of a running VM on Ceph', () => {
  beforeAll(async () => {
    await lab.vm.start();
    await lab.mixed.start();
  });

  test('an export of a running VM on Ceph holds the bytes of its snapshots while the guest goes on writing', async () => {
    const copies = await mkdtemp(join(folder, 'copies-'));
    const ended = await whileReading(lab.vm, async () => {
      expect(await lab.vm.isFrozen()).toBe(false);
      await expectWriting(lab.vm);
      for (const [id, spec] of (await ourSnapshots()).entries()) {
        await lab.rbd('export', '--no-progress', spec, join(copies, String(id)));
      }
    });
    await extracted(reportOf(ended).bundle, async (disk) => {
      // All but the CD-ROM have a snapshot.
      for (const [at, id] of [0, 1, 3].entries()) {
        await runProgram('cmp', [join(copies, String(at)), disk(id)]);
      }
    });
    await rm(copies, { recursive: true });
  });

  test.each(['vm', 'mixed'] as const)(
    'an export of a running VM on Ceph (%s) without an agent lets the guest run on, with a warning',
    async (which) => {
      const vm = lab[which];
      await vm.stopAgent();
      try {
        const ended = await exportOf(vm);
        const { bundle, consistency } = reportOf(ended);
        expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
        expect(ended.stderr).toMatch(/^WARNING: .*cannot be frozen: .*as after a power cut/m);
        expect(ended.stderr).toMatch(/^WARNING: .*each of a point in time of its own/m);
        const { vda, vdb } = await numbersIn(bundle);
        expect([vda.clean, vdb.clean]).toEqual([false, false]);
        expect(await leftOn(vm)).toEqual(nothingOn);

        const refused = await exportOf(vm, ['--require-freeze']);
        expect(refused.code).toBe(1);
        expect(await leftOn(vm)).toEqual(nothingOn);
      } finally {
        await vm.startAgent();
      }
    },
  );

  test.each([
    ['suspend', 'suspend'],
    ['none', 'crash'],
  ])(
    'an export of a running VM on Ceph with --fs-freeze %s lets the guest go on',
    async (mode, level) => {
      const { bundle, consistency } = reportOf(await exportOf(lab.vm, ['--fs-freeze', mode]));
      expect(consistency.level).toBe(level);
      const { vda, vdb } = await numbersIn(bundle);
      expect([vda.clean, vdb.clean]).toEqual([false, false]);
      expect(await leftOn(lab.vm)).toEqual(nothingOn);
      await expectWriting(lab.vm);
    },
  );

  test('an export of a running VM on Ceph is refused when QEMU writes to another image than OpenNebula says', async () => {
    const xml = (await lab.vm.xml()).replace('[one/one-32]', '[one/one-31]');
    const { code, stderr } = await exportOf(lab.vm, [], { xml });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining(
        'disk 3 of VM 30 (vdc) is one/one-31 for OpenNebula, but one/one-32 for libvirt',
      ) as unknown,
    });
    expect(await leftOn(lab.vm)).toEqual(nothingOn);
  });

  test('an export of a running VM on Ceph does not freeze the guest while the cluster waits for a client that was killed', async () => {
    const [image] = lab.images;
    const clients = async (): Promise<unknown[]> => {
      const status = await lab.rbd('status', '--format', 'json', image);
      return (JSON.parse(status) as { watchers: unknown[] }).watchers;
    };
    await until('only QEMU has it open', async () => (await clients()).length === 1);
    const access = ['--id', lab.user, '--keyfile', lab.keyfile, '--conf', lab.conf];
    // It has the image open until its stdin ends.
    const client = spawn('rbd', [...access, 'watch', image], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    await until('rbd has it open', async () => (await clients()).length === 2);
    client.kill('SIGKILL');
    const ended = await exportOf(lab.vm);
    expect(ended.stderr).toMatch(new RegExp(`RBD image ${image} .* is open in 1 more than the VM`));
    const { consistency } = reportOf(ended);
    expect(consistency.level).toBe('agent');
    expect(consistency.frozenMs).toBeLessThan(5000);
    expect(await leftOn(lab.vm)).toEqual(nothingOn);
  });

  test('an export of a running VM on Ceph goes on when the guest is shut down meanwhile', async () => {
    const before = await lab.vm.lastNumber();
    const ended = await whileReading(lab.vm, () => lab.vm.destroy());
    const { bundle, consistency } = reportOf(ended);
    expect(consistency.level).toBe('agent');
    const { vda, vdb } = await numbersIn(bundle);
    expect([vda.clean, vdb.clean, sameInstant(vda, vdb)]).toEqual([true, true, true]);
    expect(vda.last).toBeGreaterThanOrEqual(before);
    expect(await left(lab.vm)).toEqual(nothing);
    await lab.vm.start();
  });
});

describe('an export of a running VM on Ceph that is ended', () => {
  test('an export of a running VM on Ceph that is ended by SIGKILL while it reads is undone by cleanup', async () => {
    await whileReading(lab.vm, (pid) => process.kill(pid, 'SIGKILL'));
    expect(await lab.vm.isFrozen()).toBe(false);
    expect(await ourSnapshots()).toHaveLength(3);
    const dry = await runToEnd(onevmdump, ['cleanup', '--dry-run'], { env });
    expect(dry.stdout).toContain('export of VM 30');
    expect(dry.stdout).toContain(
      `rbd --id oneadmin --keyfile ${lab.keyfile} --conf ${lab.conf} snap rm one/one-32@onevmdump-`,
    );
    const { code, stdout } = await runToEnd(onevmdump, ['cleanup'], { env });
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/: undone\n$/) as unknown,
    });
    expect(await leftOn(lab.vm)).toEqual(nothingOn);
  });

  test('a snapshot of a killed export on Ceph that was protected since is no obstacle for the next export', async () => {
    await whileReading(lab.vm, (pid) => process.kill(pid, 'SIGKILL'));
    const [spec = ''] = await ourSnapshots();
    await lab.rbd('snap', 'protect', spec);
    try {
      const ended = await exportOf(lab.vm);
      expect(reportOf(ended).consistency.level).toBe('agent');
      expect(ended.stderr).toContain('undoing what an export of VM 30 left');
      expect(ended.stderr).toMatch(/is protected from removal.*may be left; remove it with: rbd/s);
      expect(ended.stderr).toMatch(/has the snapshot onevmdump-[0-9a-f]{16} of another export/);
      expect(await ourSnapshots()).toEqual([spec]);
    } finally {
      await lab.rbd('snap', 'unprotect', spec);
    }
    expect(await runToEnd(onevmdump, ['cleanup'], { env })).toMatchObject({ code: 0 });
    expect(await leftOn(lab.vm)).toEqual(nothingOn);
  });

  test.each([
    ['agent', 'virsh', 'guest-fsfreeze-freeze', 1],
    ['agent', 'rbd', 'snap create', 2],
    ['suspend', 'virsh', 'suspend', 1],
    ['suspend', 'rbd', 'snap create', 2],
  ])(
    'an export of a running VM on Ceph that is ended by SIGKILL while the guest is frozen or paused (%s, after %s %s, %d times) has it go on within seconds',
    async (mode, program, command, times) => {
      const { env: killing } = await standIn(program, {
        after: `if [[ " $* " == *'${command}'* ]]; then
  # Snapshots are made at the same time.
  exec 9>"$bin/lock"
  flock 9
  echo >> "$bin/done"
  [ "$(wc -l < "$bin/done")" != ${times} ] || kill -KILL "$PPID"
  flock -u 9
fi`,
      });
      const { code } = await exportOf(lab.vm, ['--fs-freeze', mode], { env: killing });
      expect(code).toBe(null);
      await until(`the watchdogs of ${lab.vm.domain} end`, async () => {
        const { processes } = await left(lab.vm);
        return processes.length === 0;
      });
      expect((await lab.vm.virsh('domstate', lab.vm.domain)).trim()).toBe('running');
      expect(await lab.vm.isFrozen()).toBe(false);
      expect(await runToEnd(onevmdump, ['cleanup'], { env })).toMatchObject({ code: 0 });
      expect(await leftOn(lab.vm)).toEqual(nothingOn);
      reportOf(await exportOf(lab.vm));
      expect(await leftOn(lab.vm)).toEqual(nothingOn);
    },
  );
});
