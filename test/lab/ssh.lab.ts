// Exports by ssh: the libvirt lab as a host behind a real sshd, and another account as destination.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, connect, type AddressInfo, type Server } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runToEnd, sh, type Ended } from '../demo/shell.ts';
import { processesWith } from '../run/ssh-support.ts';
import { startSshd, type TestSshd } from '../run/sshd.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { readNumbers, sameInstant, type Numbers } from './numbers.ts';
import { runProgram } from './program.ts';

const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;
const account = 'onevmdump-lab-d';

interface Report {
  readonly bundle: string;
  readonly size: number;
  readonly consistency: { readonly level: string; readonly frozenMs: number };
  readonly disks: readonly { readonly dataBytes: number; readonly virtualSize: number }[];
}

let lab: LibvirtLab;
let sshd: TestSshd;
let folder: string;
let bundles: string;
let hostBin: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  lab = await upLibvirt();
  folder = await mkdtemp('/var/tmp/onevmdump-ssh-');
  bundles = join(folder, 'bundles');
  hostBin = join(folder, 'host-bin');
  for (const one of [bundles, hostBin, join(folder, 'tmp')]) await mkdir(one);
  // What the host finds first on its PATH is ours to put there.
  sshd = await startSshd({
    sshd: `AcceptEnv NONE`,
    shell: `export PATH=${hostBin}:$PATH; exec sh -c "$SSH_ORIGINAL_COMMAND"`,
  });
  env = {
    PATH: `${sshd.bin}:${process.env['PATH'] ?? ''}`,
    HOME: folder,
    TMPDIR: join(folder, 'tmp'),
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_DESTINATION: bundles,
    ONEVMDUMP_LIBVIRT_URI: lab.uri,
  };
}, 600_000);

afterAll(async () => {
  await sshd.stop();
  await rm(folder, { recursive: true, force: true });
  if (lab.startedNow) await downLibvirt();
}, 120_000);

afterEach(async () => {
  for (const name of await readdir(bundles)) await rm(join(bundles, name), { recursive: true });
  for (const name of await readdir(hostBin)) await rm(join(hostBin, name));
});

interface ExportOptions {
  readonly xml?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly started?: (pid: number) => void;
}

async function exportOf(
  vm: LabVm,
  args: readonly string[] = [],
  options: ExportOptions = {},
): Promise<Ended> {
  const words = ['export', '--stdin', '--no-lock', '--json', '--remote-host', sshd.host, ...args];
  return runToEnd(onevmdump, words, {
    ...(options.started ? { started: options.started } : {}),
    env: { ...env, ...options.env },
    input: options.xml ?? (await vm.xml()),
  });
}

function reportOf({ code, stdout, stderr }: Ended): Report {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

async function extracted(bundle: string): Promise<string> {
  const out = await mkdtemp(join(folder, 'out-'));
  await runProgram('tar', ['-xzf', bundle, '-C', out]);
  return out;
}

async function numbersIn(bundle: string): Promise<{ vda: Numbers; vdb: Numbers }> {
  const out = await extracted(bundle);
  await runProgram('qemu-img', ['check', '-f', 'qcow2', join(out, 'backup.disk.0')]);
  const vda = await readNumbers(join(out, 'backup.disk.0'), 'qcow2');
  const vdb = await readNumbers(join(out, 'backup.disk.1'), 'raw');
  await rm(out, { recursive: true });
  return { vda, vdb };
}

/** The dumps are what the disks are, by qemu-img. */
async function expectSameBytes(vm: LabVm, bundle: string): Promise<void> {
  const out = await extracted(bundle);
  for (const [id, format] of [[0, 'qcow2'], [1, 'raw'], [2, 'raw'], [3, 'qcow2']] as const) {
    const args = ['compare', '-U', '-f', format, '-F', format];
    await runProgram('qemu-img', [...args, vm.diskPath(id), join(out, `backup.disk.${id}`)]);
  } // prettier-ignore
  await rm(out, { recursive: true });
}

/** What an export may have left, here and there. */
async function leftOf(vm: LabVm): Promise<object> {
  const running = await vm.isRunning();
  return {
    job: running ? (await vm.virsh('domjobinfo', vm.domain)).trim().split(/\s+/).at(-1) : 'None',
    files: (await readdir(vm.folder)).filter((name) => name.startsWith('onevmdump-')),
    journals: await readdir(join(folder, 'state', 'journal')).catch(() => []),
    parts: (await readdir(bundles)).filter((name) => name.endsWith('.part')),
    guards: await processesWith('onevmdump-guard-'),
    servers: await processesWith('qemu-nbd', '/tmp/onevmdump-'),
    connections: await processesWith(sshd.host, 'ssh'),
    frozen: running && (await vm.isFrozen()),
  };
}

const nothing = {
  ...{ job: 'None', files: [], journals: [], parts: [], guards: [], servers: [], connections: [] },
  frozen: false,
};

/** What ends by itself may take some seconds for it. */
async function expectNothingLeft(vm: LabVm, seconds = 5): Promise<void> {
  for (let tries = 0; tries < seconds * 2; tries++) {
    if (JSON.stringify(await leftOf(vm)) === JSON.stringify(nothing)) return;
    await sleep(500);
  }
  expect(await leftOf(vm)).toEqual(nothing);
}

async function expectWriting(vm: LabVm): Promise<void> {
  const before = await vm.lastNumber();
  for (let tries = 0; (await vm.lastNumber()) === before; tries += 1) {
    if (tries > 100) throw new Error(`the guest of ${vm.domain} does not write`);
    await sleep(100);
  }
}

/** A proxy before sshd that counts what the host sends. */
async function counting(): Promise<{
  server: Server;
  received: () => number;
  env: NodeJS.ProcessEnv;
}> {
  let received = 0;
  const server = createServer((client) => {
    const upstream = connect(sshd.port, '127.0.0.1');
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    upstream.on('data', (data: Buffer) => (received += data.length));
    client.pipe(upstream).pipe(client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const bin = await mkdtemp(join(folder, 'bin-'));
  const config = (await readFile(join(sshd.folder, 'ssh_config'), 'utf8')).replace(
    /Port \d+/,
    `Port ${port}\n  HostKeyAlias [127.0.0.1]:${sshd.port}`,
  );
  await writeFile(join(bin, 'config'), config);
  await writeFile(join(bin, 'ssh'), `#!/bin/sh\nexec /usr/bin/ssh -F '${bin}/config' "$@"\n`, {
    mode: 0o755,
  });
  return { server, received: () => received, env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` } };
}

describe('an export from a host', () => {
  test.each(['qcow2', 'ssh'] as const)(
    'of a running VM of TM %s has all disks at one instant',
    async (tm) => {
      const vm = lab[tm];
      await vm.start();
      const { bundle, consistency } = reportOf(await exportOf(vm));
      expect(consistency.level).toBe('agent');
      expect(consistency.frozenMs).toBeLessThan(10_000);
      process.stderr.write(`${vm.domain} by ssh: frozen for ${consistency.frozenMs} ms\n`);
      const { vda, vdb } = await numbersIn(bundle);
      expect([vda.clean, vdb.clean]).toEqual([true, true]);
      expect(sameInstant(vda, vdb)).toBe(true);
      await expectNothingLeft(vm);
      await expectWriting(vm);
    },
  );

  test('holds the very bytes, and little more than the data crosses the network', async () => {
    const vm = lab.qcow2;
    const proxy = await counting();
    await vm.pauseWriter();
    try {
      const { bundle, disks } = reportOf(await exportOf(vm, ['--fs-freeze', 'suspend'], proxy));
      await expectSameBytes(vm, bundle);
      const data = disks.reduce((sum, disk) => sum + disk.dataBytes, 0);
      const size = disks.reduce((sum, disk) => sum + disk.virtualSize, 0);
      process.stderr.write(
        `on the wire: ${proxy.received()} bytes for ${data} of data, ${size} of disks\n`,
      );
      expect(proxy.received()).toBeLessThan(data * 1.04);
      expect(size).toBeGreaterThan(data * 3);
    } finally {
      await vm.continueWriter();
      proxy.server.close();
    }
    await expectNothingLeft(vm);
  });

  test('of a VM that is powered off holds the very bytes', async () => {
    const vm = lab.ssh;
    if (await vm.isRunning()) await vm.powerOff();
    const { bundle, consistency } = reportOf(await exportOf(vm));
    expect(consistency.level).toBe('offline');
    await expectSameBytes(vm, bundle);
    await expectNothingLeft(vm);
  });

  test('takes the host from the VM’s history when told so', async () => {
    const xml = (await lab.qcow2.xml()).replace(
      /<HOSTNAME>.*?<\/HOSTNAME>/,
      `<HOSTNAME>${sshd.host}</HOSTNAME>`,
    );
    expect(xml).toContain(sshd.host);
    const ended = await runToEnd(onevmdump, ['export', '--stdin', '-L', '-h', 'auto'], {
      env,
      input: xml,
    });
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\/.*tar.gz\n$/) as unknown,
    });
    await expectNothingLeft(lab.qcow2);
  });

  test('to another account’s machine has the bundle there, and only there', async () => {
    // No password, but not locked: sshd would refuse that.
    await sh(
      'useradd',
      '--password',
      '*',
      '--no-create-home',
      '--home-dir',
      bundles,
      '--shell',
      '/bin/sh',
      account,
    );
    try {
      await sh('chmod', '755', folder, sshd.folder);
      await sh('chown', account, bundles);
      const ended = await exportOf(lab.qcow2, [
        '--destination-host',
        sshd.host,
        '--destination-user',
        account,
      ]);
      const { bundle, size } = reportOf(ended);
      const [, path] = bundle.split(':');
      expect(bundle).toBe(`${account}@${sshd.host}:${path}`);
      expect((await sh('stat', '-c', '%U %a %s', path!)).trim()).toBe(`${account} 600 ${size}`);
      expect((await numbersIn(path!)).vda.clean).toBe(true);
      await expectNothingLeft(lab.qcow2);
    } finally {
      await sh('chown', 'root', bundles);
      // Its last processes on the host take a moment to end.
      await runProgram('bash', [
        '-c',
        `for i in {1..50}; do userdel ${account} 2>/dev/null && exit; sleep 0.2; done; exit 1`,
      ]);
    }
  });

  test('with quotes, blanks and commands in the datastores’ path runs nothing of it', async () => {
    await mkdir(join(folder, 'odd'), { recursive: true });
    const location = join(folder, 'odd', `d 'a' "b" $(touch canary) ; & \\x ü`);
    await symlink(lab.datastores, location);
    const vm = lab.qcow2;
    const { bundle } = reportOf(
      await exportOf(vm, [], { env: { ONEVMDUMP_DATASTORE_LOCATION: location } }),
    );
    expect((await numbersIn(bundle)).vda.clean).toBe(true);
    expect((await sh('find', folder, '/root', '-maxdepth', '3', '-name', 'canary*')).trim()).toBe(
      '',
    );
    await expectNothingLeft(vm);
  });

  test.each([
    [
      'DEPLOY_ID',
      (text: string) => text.replace(/<DEPLOY_ID>.*?</, '<DEPLOY_ID>one-8; touch CANARY<'),
    ],
    [
      'DEPLOY_ID with a quote',
      (text: string) => text.replace(/<DEPLOY_ID>.*?</, "<DEPLOY_ID>'$(touch CANARY)'<"),
    ],
    [
      'TARGET',
      (text: string) => text.replaceAll(/<TARGET>.*?</g, "<TARGET>vda'; touch CANARY; '<"),
    ],
    [
      'SOURCE',
      (text: string) =>
        text.replaceAll(
          /<SOURCE>.*?</g,
          "<SOURCE>/x'; touch CANARY; '`touch CANARY`$(touch CANARY)<",
        ),
    ],
    [
      'NAME',
      (text: string) =>
        text.replace(/<NAME>.*?</, "<NAME>'; touch CANARY; $(touch CANARY)\n`touch CANARY`<"),
    ],
    ['TM_MAD', (text: string) => text.replaceAll(/<TM_MAD>.*?</g, '<TM_MAD>qcow2;touch CANARY<')],
  ])('with a hostile %s runs nothing', async (_, change) => {
    const canary = join(folder, 'CANARY');
    const xml = change(await lab.qcow2.xml()).replaceAll('CANARY', canary);
    expect(xml).toContain(canary);
    await exportOf(lab.qcow2, [], { xml });
    expect(await readdir(folder)).not.toContain('CANARY');
    await expectNothingLeft(lab.qcow2);
  });

  test('with a hostile HOSTNAME connects to nobody', async () => {
    const canary = join(folder, 'CANARY');
    const host = `-oProxyCommand=touch ${canary}`;
    const xml = (await lab.qcow2.xml()).replace(/<HOSTNAME>.*?</, `<HOSTNAME>${host}<`);
    const ended = await runToEnd(onevmdump, ['export', '--stdin', '-L', '-h', 'auto'], {
      env,
      input: xml,
    });
    expect(ended.code).toBe(3);
    expect(await readdir(folder)).not.toContain('CANARY');
  });
});

/** A virsh on the host that cuts the connection around one command, once. */
async function cutting(command: string, when: 'before' | 'after', cut: string): Promise<void> {
  const real = (await sh('bash', '-c', 'type -P virsh')).trim();
  const done = join(folder, `cut-${Date.now()}`);
  const once = `if [[ " $* " == *' ${command} '* ]] && mkdir '${done}' 2>/dev/null; then ${cut}; fi`;
  const script = `#!/bin/bash
${when === 'before' ? once : ''}
'${real}' "$@"
status=$?
${when === 'after' ? once : ''}
exit $status
`;
  await writeFile(join(hostBin, 'virsh'), script, { mode: 0o755 });
}

/** For bash on the host: kills (or stops) ssh here, or sshd's processes for connections. */
const ends = (): Readonly<Record<string, string>> => ({
  'ssh is killed': `kill -KILL $(pgrep -f 'ServerAliveInterval.*${sshd.host}')`,
  'sshd is killed': `kill -KILL $(pgrep -g 0 -P ${sshd.pid}; pgrep -P ${sshd.pid})`,
});

describe('when the connection is cut', () => {
  test.each([
    ['ssh is killed', 'domfsfreeze', 'before'],
    ['ssh is killed', 'domfsfreeze', 'after'],
    ['ssh is killed', 'backup-begin', 'before'],
    ['ssh is killed', 'backup-begin', 'after'],
    ['sshd is killed', 'domfsfreeze', 'after'],
    ['sshd is killed', 'backup-begin', 'after'],
  ] as const)(
    '(%s) around %s (%s), the guest goes on, and nothing is left',
    async (how, command, when) => {
      const vm = lab.qcow2;
      await cutting(command, when, ends()[how]!);
      const started = Date.now();
      const ended = await exportOf(vm);
      process.stderr.write(
        `${how}, ${when} ${command}: code ${ended.code} after ${Date.now() - started} ms\n`,
      );
      await expectNothingLeft(vm, 15);
      await expectWriting(vm);
      if (ended.code !== 0) expect(await readdir(bundles)).toEqual([]);
      else expect(ended.stderr).toMatch(/connecting again/);
    },
    120_000,
  );

  test.each(['ssh is killed', 'sshd is killed'])(
    '(%s) while data is read, no bundle appears, and nothing is left',
    async (how) => {
      const vm = lab.qcow2;
      let acted: Promise<unknown> = Promise.resolve();
      const ended = await exportOf(vm, ['--compress', 'gzip:9'], {
        started: () => {
          acted = partIn(bundles).then(() => sh('bash', '-c', ends()[how]!).catch(() => undefined));
        },
      });
      await acted;
      expect(ended.code).toBeGreaterThan(0);
      process.stderr.write(`${ended.stderr.trim().split('\n').at(-1) ?? ''}\n`);
      expect(await readdir(bundles)).toEqual([]);
      await expectNothingLeft(vm, 15);
    },
    120_000,
  );

  test('(onevmdump is killed) while the guest is frozen, it is thawed within seconds, and cleanup removes the rest', async () => {
    const vm = lab.qcow2;
    await cutting('domfsfreeze', 'after', `kill -KILL $(pgrep -f 'node ${onevmdump} export')`);
    const ended = await exportOf(vm);
    expect(ended.code).toBe(null);
    for (let tries = 0; (await vm.isFrozen()) && tries < 20; tries++) await sleep(500);
    expect(await vm.isFrozen()).toBe(false);
    await rm(join(hostBin, 'virsh'));
    const cleaned = await runToEnd(onevmdump, ['cleanup'], { env });
    expect({ code: cleaned.code, stdout: cleaned.stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/: undone\n$/) as unknown,
    });
    await expectNothingLeft(vm);
    await expectWriting(vm);
  }, 120_000);

  test('and the host stays away, what is left is named and kept, and cleanup removes it later', async () => {
    const vm = lab.qcow2;
    let acted: Promise<unknown> = Promise.resolve();
    const broken = join(folder, 'broken');
    await mkdir(broken, { recursive: true });
    // An ssh that finds nobody any more.
    await writeFile(
      join(broken, 'ssh'),
      `#!/bin/sh\n[ -e '${broken}/away' ] && exec ${sshd.bin}/ssh -o Port=1 "$@"\nexec ${sshd.bin}/ssh "$@"\n`,
      { mode: 0o755 },
    );
    const ended = await exportOf(vm, ['--compress', 'gzip:9'], {
      env: { PATH: `${broken}:${process.env['PATH'] ?? ''}` },
      started: () => {
        acted = partIn(bundles)
          .then(() => writeFile(join(broken, 'away'), ''))
          .then(() => sh('bash', '-c', ends()['ssh is killed']!).catch(() => undefined));
      },
    });
    await acted;
    expect(ended.code).toBeGreaterThan(0);
    expect(ended.stderr).toContain(`on ${sshd.host}: a backup job of`);
    expect(await readdir(bundles)).toEqual([]);
    expect(await vm.isFrozen()).toBe(false);
    const cleaned = await runToEnd(onevmdump, ['cleanup'], { env });
    expect({ code: cleaned.code, stderr: cleaned.stderr }).toEqual({ code: 0, stderr: '' });
    await expectNothingLeft(vm);
    await expectWriting(vm);
  }, 180_000);
});

async function partIn(where: string): Promise<void> {
  for (let tries = 0; !(await readdir(where)).some((name) => name.endsWith('.part')); tries++) {
    if (tries > 3000) throw new Error('no export begins');
    await sleep(10);
  }
}
