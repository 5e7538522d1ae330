// Exports of VMs whose disks are logical volumes, by the built command on a host with real LVM, libvirt
// and QEMU: with snapshots of the volumes, also where one backup job would be the default. All of that is user-mode Linux on one CPU, where every command takes 0.1 to 1 s.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Ended } from '../support/shell.ts';
import type { LabVm } from './lab-vm.ts';
import {
  activeVolumes,
  beforeReading,
  cleanupOn,
  exportOn as exportByDefault,
  type ExportOptions,
  fileSums,
  leftOn,
  prepareHost,
  tidyHost,
  volumeSums,
  withDisks,
} from './lvm-host.ts';
import { downLvm, upLvm, type LvmLab } from './lvm.ts';
import { readNumbers, sameInstant } from './numbers.ts';
import { until } from '../support/limits.ts';

interface Report {
  readonly bundle: string;
  readonly consistency: { readonly level: string; readonly frozenMs: number };
}

let lab: LvmLab;

beforeAll(async () => {
  lab = await upLvm();
  await prepareHost(lab);
});

afterAll(async () => {
  for (const vm of [lab.thick, lab.thin]) if (await vm.isRunning()) await vm.powerOff();
  await tidyHost(lab);
  if (lab.startedNow) await downLvm();
});

// Nothing may ever be left, whatever became of an export.
afterEach(async () => {
  await lab.run('rm -f /tmp/lvm-export/*.tar.gz');
  expect(await leftOn(lab)).toBe('');
});

async function exportOn(on: LvmLab, vm: LabVm, options: ExportOptions = {}): Promise<Ended> {
  const env = { ONEVMDUMP_SNAPSHOT: 'storage', ...options.env };
  return await exportByDefault(on, vm, { ...options, env });
}

function reportOf({ code, stdout, stderr }: Ended): Report {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

async function powerOffAll(): Promise<void> {
  for (const vm of [lab.thick, lab.thin]) if (await vm.isRunning()) await vm.powerOff();
}

/** Waits until the guest writes on, which takes it a moment; a frozen one never does. */
async function expectWriting(vm: LabVm): Promise<void> {
  const before = await vm.lastNumber();
  await until(`${vm.domain} writes`, async () => (await vm.lastNumber()) !== before);
}

describe('an export of a VM on LVM that is powered off', () => {
  beforeAll(powerOffAll);

  test('an export of a VM on LVM that is powered off needs of sudo no more than OpenNebula gives oneadmin, and leaves active what was active', async () => {
    const vm = lab.thin;
    const names = ['lvcreate', 'lvremove', 'lvs', 'vgdisplay', 'lvchange', 'lvscan', 'lvextend'];
    const list = names.map((name) => `/sbin/${name}`).join(', ');
    const before = await lab.run('cat /etc/sudoers.d/oneadmin');
    await lab.run(`echo 'oneadmin ALL=(ALL) NOPASSWD: ${list}' >/etc/sudoers.d/oneadmin`);
    try {
      await expect(lab.run('sudo -n id', 'oneadmin')).rejects.toThrow();
      await lab.run('lvchange -q -ay -K vg-one-111/lv-one-21-0 vg-one-111/lv-one-21-1');
      const sums = await volumeSums(lab, vm);
      await lab.run('lvchange -q -an vg-one-111/lv-one-21-0');
      const { bundle } = reportOf(await exportOn(lab, vm, { user: 'oneadmin' }));
      expect(await withDisks(lab, bundle, fileSums)).toEqual(sums);
      expect(await activeVolumes(lab, vm)).toEqual(['lv-one-21-1']);
    } finally {
      await lab.run(`echo '${before.trim()}' >/etc/sudoers.d/oneadmin`);
      await lab.run('lvchange -q -an vg-one-111');
    }
  });

  test('an export of a VM on LVM that is powered off whose volume is missing says which, and activates nothing for good', async () => {
    await lab.run('lvrename -q vg-one-110 lv-one-20-1 elsewhere');
    try {
      const { code, stderr } = await exportOn(lab, lab.thick);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringContaining(
          'there is no volume lv-one-20-1 in the volume group',
        ) as unknown,
      });
    } finally {
      await lab.run('lvrename -q vg-one-110 elsewhere lv-one-20-1');
    }
    expect(await activeVolumes(lab, lab.thick)).toEqual([]);
  });

  test('an export of a VM on LVM activates no volume of a group that others may see, unless it runs on the front-end, whose lock it takes', async () => {
    const vm = lab.thick;
    const env = { ONEVMDUMP_LVM_SHARED: 'yes' };
    for (const user of ['root', 'oneadmin'] as const) {
      const { code, stderr } = await exportOn(lab, vm, { user, env });
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(
          /^cannot activate the volumes of disk 0 and disk 1 of VM 20: .*LVM_SHARED = no\n$/,
        ) as unknown,
      });
    }
    expect(await activeVolumes(lab, vm)).toEqual([]);
    // As OpenNebula's packages have them.
    const folders =
      'install -d -o root -g oneadmin -m 750 /etc/one; install -d -o oneadmin /var/lock/one';
    await lab.run(`${folders}; install -g oneadmin -m 640 /dev/null /etc/one/oned.conf`);
    try {
      reportOf(await exportOn(lab, vm, { user: 'oneadmin', env }));
      const locks = (await lab.run('stat -c "%n %U" /var/lock/one/*')).trim().split('\n');
      expect(locks).toEqual([
        '/var/lock/one/tm-fs_lvm-110.lock oneadmin',
        '/var/lock/one/tm-onelvm-vg-one-110.lock oneadmin',
      ]);
    } finally {
      await lab.run('rm -rf /etc/one /var/lock/one');
    }
    expect(await activeVolumes(lab, vm)).toEqual([]);
  });

  test('an export of a VM on LVM that is killed leaves active volumes to cleanup', async () => {
    const meddling = { when: 'before', match: beforeReading, action: 'kill -KILL $PPID' } as const;
    expect((await exportOn(lab, lab.thick, { meddling })).code).not.toBe(0);
    expect(await activeVolumes(lab, lab.thick)).toEqual(['lv-one-20-0', 'lv-one-20-1']);
    expect(await cleanupOn(lab)).toMatchObject({ code: 0 });
    expect(await activeVolumes(lab, lab.thick)).toEqual([]);
  });
});

describe.each(['thick', 'thin'] as const)('an export of a running VM on %s volumes', (kind) => {
  const group = kind === 'thick' ? 'vg-one-110' : 'vg-one-111';

  beforeAll(async () => {
    await powerOffAll();
    await lab[kind].start();
  });

  test(`an export of a running VM on ${kind} volumes has both disks at one point in time, with clean file systems`, async () => {
    const vm = lab[kind];
    const before = await vm.lastNumber();
    const { bundle, consistency } = reportOf(await exportOn(lab, vm, { user: 'oneadmin' }));
    expect(consistency.level).toBe('agent');
    process.stderr.write(`${kind}: frozen for ${consistency.frozenMs} ms\n`);
    await withDisks(lab, bundle, async ([a, b]) => {
      const [vda, vdb] = [await readNumbers(a, 'raw'), await readNumbers(b, 'raw')];
      expect([vda.clean, vdb.clean]).toEqual([true, true]);
      expect(sameInstant(vda, vdb)).toBe(true);
      expect(vda.last).toBeGreaterThanOrEqual(before);
    });
    await expectWriting(vm);
  });

  test(`an export of a running VM on ${kind} volumes is refused before the guest is frozen when what it may overwrite has no room`, async () => {
    const fill =
      kind === 'thick'
        ? `lvcreate -q -Wn -Zn -l 95%FREE -n fill ${group}`
        : `lvcreate -q -kn -V 220M --thin -n fill ${group}/lv-one-21-pool && dd if=/dev/zero of=/dev/${group}/fill bs=1M count=212 oflag=direct status=none`;
    await lab.run(fill);
    try {
      const { code, stderr } = await exportOn(lab, lab[kind], {
        meddling: { when: 'before', match: 'virsh*guest-fsfreeze-freeze*', action: 'exit 9' },
      });
      expect(code).toBe(1);
      const what = kind === 'thick' ? `volume group ${group}` : `thin pool ${group}/lv-one-21-pool`;
      expect(stderr).toMatch(
        new RegExp(`the ${what} has [0-9.]+ MiB free, but .*LVM_SNAPSHOT_PERCENT`),
      );
    } finally {
      await lab.run(`lvremove -q -f ${group}/fill`);
    }
  });

  test(`an export of a running VM on ${kind} volumes that is killed while it reads is undone by the next one`, async () => {
    const vm = lab[kind];
    const meddling = { when: 'before', match: beforeReading, action: 'kill -KILL $PPID' } as const;
    expect((await exportOn(lab, vm, { meddling })).code).not.toBe(0);
    expect((await leftOn(lab)).match(/volume onevmdump-/g)).toHaveLength(2);
    const ended = await exportOn(lab, vm, { args: ['--fs-freeze', 'suspend'] });
    expect(reportOf(ended).consistency.level).toBe('suspend');
    expect(ended.stderr).toContain(`undoing what an export of VM ${vm.id} left`);
    await expectWriting(vm);
  });
});

describe('an export of a running VM', () => {
  beforeAll(async () => {
    await powerOffAll();
    await lab.thick.start();
  });

  test('an export of a running VM on LVM without an agent lets the guest run on, and tells of foreign snapshots', async () => {
    const vm = lab.thick;
    const foreign = 'onevmdump-0123456789abcdef-0';
    await vm.stopAgent();
    await vm.pauseWriter();
    await lab.run(`lvcreate -q -s -l 1 -n ${foreign} vg-one-110/lv-one-20-0`);
    try {
      const ended = await exportOn(lab, vm);
      const { bundle, consistency } = reportOf(ended);
      expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
      expect(ended.stderr).toMatch(/^WARNING: .*cannot be frozen: .*as after a power cut/m);
      expect(ended.stderr).toMatch(/^WARNING: .*each of a point in time of its own/m);
      expect(ended.stderr).toContain(`has the snapshot ${foreign} of another export`);
      expect(await withDisks(lab, bundle, fileSums)).toEqual(await volumeSums(lab, vm));
      expect(await leftOn(lab)).toBe(`volume ${foreign}\n`);
    } finally {
      await lab.run(`lvremove -q -f vg-one-110/${foreign}`);
      await vm.continueWriter();
      await vm.startAgent();
    }
  });

  test.each([
    ['before it is read', beforeReading, ''],
    // Then its health is asked for. The first lvs is run before there is a snapshot.
    [
      'after its last byte',
      'lvs*',
      'compgen -G "/dev/vg-one-110/onevmdump-*" >&2 || { rmdir /tmp/lvm-export/done; return; }',
    ],
  ])(
    'an export of a running VM on LVM whose snapshot overflows %s fails, and says why',
    async (_, match, condition) => {
      const vm = lab.thick;
      await vm.pauseWriter();
      try {
        // The same bytes again: a snapshot keeps what is overwritten all the same.
        const device = '/dev/vg-one-110/lv-one-20-0';
        const overwrite = `dd if=${device} of=${device} bs=1M count=12 iflag=direct oflag=direct conv=notrunc status=none`;
        const action = `${condition}\n${overwrite}`;
        const { code, stderr } = await exportOn(lab, vm, {
          env: { ONEVMDUMP_LVM_SNAPSHOT_MIN_MB: '4', ONEVMDUMP_LVM_SNAPSHOT_PERCENT: '1' },
          meddling: { when: 'before', match, action },
        });
        expect({ code, stderr }).toEqual({
          code: 1,
          stderr: expect.stringContaining(
            'the snapshot of disk 0 of VM 20 is full: its guest overwrote more than the 4.0 MiB there were for it',
          ) as unknown,
        });
      } finally {
        await vm.continueWriter();
      }
      expect(await lab.run('ls /tmp/lvm-export')).not.toContain('tar.gz');
      await expectWriting(vm);
    },
  );

  test.each([
    'virsh*guest-fsfreeze-freeze*',
    'lvcreate*-0 vg-*',
    'lvcreate*-1 vg-*',
    beforeReading,
    'lvremove*',
  ])(
    'an export of a running VM on LVM that is ended by SIGTERM in %s leaves the guest as it was',
    async (match) => {
      // All volumes are made by one shell: the command is the Node above it.
      const action = `command=$PPID
while [[ $(readlink "/proc/$command/exe") != */node ]]; do read -r _ _ _ command _ <"/proc/$command/stat"; done
kill -TERM "$command"`;
      const meddling = { when: 'before', match, action } as const;
      const { code } = await exportOn(lab, lab.thick, { meddling });
      // By the time of the removal the bundle is there.
      expect(code).toBe(match === 'lvremove*' ? 0 : 143);
      expect(await lab.thick.isFrozen()).toBe(false);
      await expectWriting(lab.thick);
    },
  );
});
