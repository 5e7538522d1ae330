// Exports from a host with LVM by ssh, beyond the contract: what the network costs, further kinds of disks, a connection
// that is cut, and VMs whose attributes are meant to run something on the host.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expectWriting } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { nothingLeft, sceneBySsh, type SshScene } from './lvm-by-ssh.ts';
import { activeVolumes, fileSums, watchdogsOn, leftOn, prepareHost, tidyHost } from './lvm-host.ts';
import { downLvm, upLvm, type LvmLab } from './lvm.ts';
import { until } from '../support/limits.ts';

interface Report {
  readonly bundle: string;
  readonly consistency: { readonly level: string; readonly frozenMs: number };
  readonly disks: readonly { readonly dataBytes: number; readonly virtualSize: number }[];
}

let lab: LvmLab;
let scene: SshScene;
let vm: LabVm;

beforeAll(async () => {
  lab = await upLvm();
  await prepareHost(lab);
  // A backup job has no commands of its own for logical volumes: ssh-cut.lab.ts.
  scene = await sceneBySsh(lab, { ONEVMDUMP_SNAPSHOT: 'storage' });
  vm = lab.thick;
});

afterAll(async () => {
  if (await vm.isRunning()) await vm.powerOff();
  await scene.close();
  await tidyHost(lab);
  if (lab.startedNow) await downLvm();
});

afterEach(async () => {
  await scene.removeBundles();
  await expectNothingLeft();
});

async function expectNothingLeft(): Promise<void> {
  expect(await scene.leftByNow()).toEqual(nothingLeft);
  expect(await leftOn(lab)).toBe('');
}

function reportOf({
  code,
  stdout,
  stderr,
}: {
  code: number | null;
  stdout: string;
  stderr: string;
}) {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

/** Bytes that the host has sent us, with all that Ethernet, IP, TCP and ssh add. */
async function received(): Promise<number> {
  return Number(await readFile(`/sys/class/net/${lab.device}/statistics/rx_bytes`, 'utf8'));
}

const disk = (id: number, type: string, more: string): string =>
  `<DISK><DISK_ID>${id}</DISK_ID><TYPE>${type}</TYPE><DISK_TYPE>BLOCK</DISK_TYPE><FORMAT>raw</FORMAT>` +
  `<DATASTORE_ID>110</DATASTORE_ID><TM_MAD>fs_lvm_ssh</TM_MAD><SIZE>8</SIZE>${more}</DISK>`;

describe('an export from a host with LVM', () => {
  beforeAll(async () => {
    for (const one of [lab.thick, lab.thin]) if (await one.isRunning()) await one.powerOff();
  });

  test('an export from a host with LVM has all of its volumes on the wire, and little more', async () => {
    const before = await received();
    const { disks } = reportOf(await scene.exportOf(vm));
    const bytes = (await received()) - before;
    const size = disks.reduce((sum, one) => sum + one.virtualSize, 0);
    process.stderr.write(`on the wire: ${bytes} bytes for volumes of ${size}\n`);
    expect(size).toBe(256 * 1024 * 1024);
    expect(bytes).toBeLessThan(size * 1.04);
  });

  test('an export from a host with LVM has swap disks and CD-ROMs that are volumes, also of an undeployed VM', async () => {
    const names = [3, 4].map((id) => `vg-one-110/lv-one-20-${id}`);
    for (const name of names) {
      const create = `lvcreate -q -Wn -Zn -L 8M -n ${name.slice(11)} vg-one-110`;
      await lab.run(`${create} && dd if=/dev/urandom of=/dev/${name} bs=1M count=8 status=none`);
    }
    const sums = (await lab.run(`sha256sum ${names.map((name) => `/dev/${name}`).join(' ')}`))
      .trim()
      .split('\n')
      .map((line) => line.slice(0, 64));
    await lab.run(`lvchange -q -an ${names.join(' ')}`);
    vm.withDisk(
      disk(3, 'swap', '<TARGET>vdc</TARGET>') +
        disk(4, 'CDROM', '<TARGET>hdb</TARGET><IMAGE_ID>40</IMAGE_ID><READONLY>YES</READONLY>'),
    );
    try {
      const xml = (await vm.xml()).replace('<STATE>8</STATE>', '<STATE>9</STATE>');
      const { bundle, consistency } = reportOf(await scene.exportOf(vm, [], { xml }));
      expect(consistency.level).toBe('offline');
      await scene.extracted(bundle, async (out) => {
        const paths = [3, 4].map((id) => join(out, `backup.disk.${id}`));
        expect(await fileSums(paths)).toEqual(sums);
      });
      expect(await activeVolumes(lab, vm)).toEqual([]);
    } finally {
      vm.withDisk(undefined);
      await lab.run(`lvremove -q -f ${names.join(' ')}`);
    }
  });
});

describe('an export of a running VM from a host with LVM', () => {
  beforeAll(async () => {
    for (const one of [lab.thin]) if (await one.isRunning()) await one.powerOff();
    await vm.start();
  });

  /** The guest goes on, and nothing is left of the export, here and there. */
  async function expectAsBefore(): Promise<void> {
    await until('the watchdogs end', async () => (await watchdogsOn(lab)).length === 0, 500);
    expect(await vm.isFrozen()).toBe(false);
    await expectWriting(vm);
    await expectNothingLeft();
  }

  async function expectWhole(report: string): Promise<void> {
    const { bundle, consistency } = JSON.parse(report) as Report;
    expect(consistency.level).toBe('agent');
    const { code, stderr } = await scene.onevmdump(['verify', bundle]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  }

  const killSshd = `pkill -KILL -f '^sshd: oneadmin'`;

  test.each([
    ['ssh is killed', 'reached; sleep 5'],
    ['sshd is killed', killSshd],
  ])(
    'an export of a running VM from a host with LVM whose connection is cut after the freeze (%s) ends, and the guest goes on',
    async (_how, action) => {
      const meddling = { when: 'after', match: 'virsh*guest-fsfreeze-freeze*', action } as const;
      const ended = await scene.meddled(meddling, scene.killSsh, () => scene.exportOf(vm));
      // Frozen or not, nobody knows: a new connection thaws it.
      expect(ended.code).toBe(4);
      expect(ended.stderr).toContain('connecting again');
      expect(await readdir(scene.bundles)).toEqual([]);
      await expectAsBefore();
    },
  );

  test.each([
    // It is root's and outlives the connection: the snapshot is there long after the connection was lost.
    ['in a slow lvcreate', 'ssh is killed', 'lvcreate*-0 vg-*', 'reached; sleep 8'],
    ['between the snapshots', 'sshd is killed', 'lvcreate*-1 vg-*', killSshd],
    ['in the data', 'ssh is killed', 'qemu-nbd*', '(sleep 2; reached) &'],
    ['in the data', 'sshd is killed', 'qemu-nbd*', `(sleep 2; ${killSshd}) &`],
  ])(
    'an export of a running VM from a host with LVM whose connection is cut %s (%s) leaves the guest as it was, and no bundle',
    async (_place, _how, match, action) => {
      const meddling = { when: 'before', match, action } as const;
      const ended = await scene.meddled(meddling, scene.killSsh, () => scene.exportOf(vm));
      expect(ended.code).toBeGreaterThan(0);
      expect(ended.stderr).toMatch(
        /the connection to \S+ was lost|the watchdog thawed or resumed the guest/,
      );
      expect(await readdir(scene.bundles)).toEqual([]);
      await expectAsBefore();
    },
  );

  test('an export of a running VM from a host with LVM whose connection is cut when the bundle has just got its name is whole, and undone', async () => {
    const meddling = { when: 'before', match: 'lvremove*', action: 'reached; sleep 2' } as const;
    const ended = await scene.meddled(meddling, scene.killSsh, () => scene.exportOf(vm));
    expect({ code: ended.code, stderr: ended.stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^WARNING: .*connecting again$/m) as unknown,
    });
    expect(ended.stderr).not.toContain('could not undo');
    await expectWhole(ended.stdout);
    await expectAsBefore();
  });

  test('an export of a running VM from a host with LVM ends when the host falls silent while the guest is frozen, and the guest goes on', async () => {
    const stop = `pkill -STOP -f '^sshd: oneadmin'`;
    const ended = await scene.meddled(
      { when: 'before', match: 'lvcreate*-1 vg-*', action: stop },
      () => Promise.resolve(),
      () => scene.exportOf(vm),
    );
    expect(ended.code).toBeGreaterThan(0);
    expect(ended.stderr).toContain('it does not answer');
    expect(await readdir(scene.bundles)).toEqual([]);
    // Its keeper would, two minutes later.
    await lab.run(`${killSshd} || true`);
    await expectAsBefore();
  });

  test('an export of a running VM from a host with LVM that stays away names what is left, and cleanup removes it later', async () => {
    const bin = join(scene.folder, 'away-bin');
    const away = join(bin, 'away');
    const ssh = join(lab.sshFolder, 'ssh');
    await mkdir(bin);
    const script = `#!/bin/sh\n[ -e '${away}' ] && exec ${ssh} -o Port=1 "$@"\nexec ${ssh} "$@"\n`;
    await writeFile(join(bin, 'ssh'), script, { mode: 0o755 });
    const ended = await scene.meddled(
      { when: 'before', match: 'qemu-nbd*', action: '(sleep 2; reached) &' },
      async () => {
        await writeFile(away, '');
        await scene.killSsh();
      },
      () => scene.exportOf(vm, [], { env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` } }),
    );
    expect(ended.code).toBeGreaterThan(0);
    const named =
      /on onevmdump-lvm: the snapshot vg-one-110\/onevmdump-[0-9a-f]{16}-[01] of the volume \S+ may be left/g;
    expect(ended.stderr.match(named)).toHaveLength(2);
    expect(await readdir(scene.bundles)).toEqual([]);
    expect(await vm.isFrozen()).toBe(false);
    expect((await leftOn(lab)).match(/volume onevmdump-/g)).toHaveLength(2);
    // This one finds it again.
    const { code, stderr } = await scene.onevmdump(['cleanup']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await expectAsBefore();
  });

  test.each([
    ['DEPLOY_ID', /<DEPLOY_ID>.*?</, `<DEPLOY_ID>one-20'; touch CANARY; '$(touch CANARY)<`],
    ['TARGET', /<TARGET>.*?</g, "<TARGET>vda'; touch CANARY; '`touch CANARY`<"],
    ['SOURCE', /<SOURCE>.*?</g, "<SOURCE>/x'; touch CANARY; '$(touch CANARY)<"],
    ['DS_ID', /<DS_ID>.*?</g, '<DS_ID>110/$(touch CANARY);touch CANARY<'],
    ['TM_MAD', /<TM_MAD>.*?</g, '<TM_MAD>fs_lvm_ssh;touch CANARY<'],
    ['NAME', /<NAME>.*?</, "<NAME>'; touch CANARY; $(touch CANARY)\n`touch CANARY`<"],
  ] as const)(
    'an export of a running VM from a host with LVM with a hostile %s runs nothing',
    async (_, attribute, hostile) => {
      const canary = '/tmp/onevmdump-CANARY';
      const xml = await vm.xml();
      const changed = xml.replace(attribute, () => hostile.replaceAll('CANARY', canary));
      expect(changed).not.toBe(xml);
      await scene.exportOf(vm, [], { xml: changed });
      await scene.exportOf(vm, ['--snapshot', 'auto'], { xml: changed });
      // On the host, all of such a name is found by what follows each test.
      expect(await readdir('/tmp')).not.toContain('onevmdump-CANARY');
    },
  );
});
