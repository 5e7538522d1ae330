// Exports of a VM of TM lvm (OpenNebula 7.4), whose volumes are in the groups of two image datastores, and which has a
// block device (TM dev) as well: by the built command on a host with real LVM, libvirt and QEMU, and by the driver actions
// here, by ssh.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ended } from '../support/shell.ts';
import { until } from '../support/limits.ts';
import {
  exportOn,
  fileSums,
  leftOn,
  prepareHost,
  tidyHost,
  tracesOn,
  withBundle,
} from './lvm-host.ts';
import { nothingLeft, sceneBySsh, type SshScene } from './lvm-by-ssh.ts';
import { downLvm, upLvm, type LvmLab } from './lvm.ts';
import { readNumbers, sameInstant } from './numbers.ts';
import { actionsOf, type OnedActions } from './oned-backup.ts';

interface Report {
  readonly bundle: string;
  readonly consistency: { readonly level: string };
}

let lab: LvmLab;

beforeAll(async () => {
  lab = await upLvm();
  await prepareHost(lab);
  for (const vm of [lab.thick, lab.thin, lab.images]) if (await vm.isRunning()) await vm.powerOff();
});

afterAll(async () => {
  if (await lab.images.isRunning()) await lab.images.powerOff();
  await tidyHost(lab);
  if (lab.startedNow) await downLvm();
});

afterEach(async () => {
  await lab.run('rm -f /tmp/lvm-export/*.tar.gz');
  expect(await leftOn(lab)).toBe('');
});

/** The command's report, and its checks of what was read. */
function reportOf({ code, stdout, stderr }: Ended): Report {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

const members = (out: string, ids: readonly number[]): string[] =>
  ids.map((id) => join(out, `backup.disk.${id}`));

/** The checksums of the disks, which must be there, as dd reads them. */
async function diskSums(ids: readonly number[]): Promise<readonly string[]> {
  const one = (id: number): string =>
    `dd if=$(realpath ${lab.images.diskPath(id)}) bs=1M iflag=direct status=none | sha256sum`;
  const text = await lab.run(ids.map(one).join('; '));
  return text
    .trim()
    .split('\n')
    .map((line) => line.slice(0, 64));
}

const all = [0, 1, 3, 4, 5] as const;
const volumes = 'vg-one-130/vm-one-23-0 vg-one-130/vm-one-23-3 vg-one-131/img-one-{33,34}';

describe('an export of a VM of TM lvm that is powered off', () => {
  test('an export of a VM of TM lvm that is powered off has all disks of both groups and the block device, and activates only what others may use for good', async () => {
    await lab.run(`lvchange -q -ay -K ${volumes}`);
    const sums = await diskSums(all);
    await lab.run(`lvchange -q -an ${volumes}`);
    const before = await tracesOn(lab, lab.images);
    const { bundle } = reportOf(await exportOn(lab, lab.images, { user: 'oneadmin' }));
    await withBundle(lab, bundle, async (out) => {
      expect(await fileSums(members(out, all))).toEqual(sums);
    });
    const cdrom = await lab.run('lvs --noheadings -o lv_active vg-one-131/img-one-34');
    expect(cdrom.trim()).toBe('active');
    await lab.run('lvchange -q -an vg-one-131/img-one-34');
    expect(await tracesOn(lab, lab.images)).toBe(before);
  });

  test('an export of a VM of TM lvm that is powered off is refused while its block device is open', async () => {
    const hold = 'exec 5<>/dev/ubde; exec sleep 600';
    await lab.run(`setsid bash -c '${hold}' </dev/null >/dev/null 2>&1 &`);
    try {
      const { code, stderr } = await exportOn(lab, lab.images);
      expect(code).toBe(1);
      expect(stderr).toMatch(/disk 5 of VM 23 is in use, .* \/dev\/ubde is open in process \d+/);
    } finally {
      await lab.run('pkill -xf "sleep 600"; lvchange -q -an vg-one-130 vg-one-131');
    }
  });
});

/** Both disks that the guest writes to are clean and of one point in time, after `since`; the others have these sums. */
async function expectOnePointInTime(
  out: string,
  since: number,
  sums: ReadonlyMap<number, string>,
): Promise<void> {
  const [vda = '', vdb = ''] = members(out, [0, 1]);
  const [first, second] = [await readNumbers(vda, 'raw'), await readNumbers(vdb, 'raw')];
  expect([first.clean, second.clean]).toEqual([true, true]);
  expect(sameInstant(first, second)).toBe(true);
  expect(first.last).toBeGreaterThanOrEqual(since);
  expect(await fileSums(members(out, [...sums.keys()]))).toEqual([...sums.values()]);
}

/** The checksums of disks that the guest does not write to. */
async function sumsOf(...ids: readonly number[]): Promise<ReadonlyMap<number, string>> {
  const sums = await diskSums(ids);
  return new Map(ids.map((id, index) => [id, sums[index] ?? '']));
}

async function expectWriting(): Promise<void> {
  const last = await lab.images.lastNumber();
  await until('the guest writes', async () => (await lab.images.lastNumber()) !== last);
}

describe('an export of a running VM of TM lvm', () => {
  beforeAll(() => lab.images.start());

  test.each(['qemu', 'storage'])(
    'an export of a running VM of TM lvm with --snapshot %s has the disks of both groups and the block device at one point in time',
    async (way) => {
      const vm = lab.images;
      const before = await vm.lastNumber();
      const kept = await sumsOf(3, 4, 5);
      const traces = await tracesOn(lab, vm);
      const args = ['--snapshot', way];
      // As root; the user is oneadmin, as QEMU's is here, in the backups below.
      const { bundle, consistency } = reportOf(await exportOn(lab, vm, { args }));
      expect(consistency.level).toBe('agent');
      await withBundle(lab, bundle, (out) => expectOnePointInTime(out, before, kept));
      expect(await tracesOn(lab, vm)).toBe(traces);
      await expectWriting();
    },
  );
});

describe('a backup by oned of a running VM of TM lvm', () => {
  let scene: SshScene;
  let basePath: string;

  beforeAll(async () => {
    await lab.images.start();
    scene = await sceneBySsh(lab, {
      // Nobody answers: nothing is known about the images.
      ONE_XMLRPC: 'http://127.0.0.1:1/RPC2',
      ONE_AUTH: '/dev/null',
    });
    basePath = join(scene.folder, 'backups');
  });
  afterAll(() => scene.close());

  /** Runs all three; `fixed` is the number that the guest has written last when `prebackup` has ended. */
  async function backUp(actions: OnedActions): Promise<Ended & { readonly fixed: number }> {
    try {
      // It warns that nothing is known about the images.
      expect(await actions.pre()).toMatchObject({ code: 0, stdout: '' });
      expect(await lab.images.isFrozen()).toBe(false);
      const fixed = await lab.images.lastNumber();
      return { fixed, ...(await actions.backup()) };
    } finally {
      expect(await actions.post()).toEqual({ code: 0, stdout: '', stderr: '' });
    }
  }

  // By snapshots by hand, for time.
  test.each(process.env['ONEVMDUMP_LAB_EACH'] === '1' ? ['auto', 'storage'] : ['auto'])(
    'a backup by oned of a running VM of TM lvm, with SNAPSHOT=%s, has the disks of both groups and the block device at the point in time of prebackup in one bundle, and leaves nothing',
    async (way) => {
      const vm = lab.images;
      const before = await vm.lastNumber();
      const kept = await sumsOf(3, 5);
      const traces = await tracesOn(lab, vm);
      const actions = actionsOf({
        xml: await vm.xml(),
        host: lab.host,
        location: '/var/lib/one/datastores',
        diskIds: [0, 1, 3, 5],
        basePath,
        env: { ...scene.env, ONEVMDUMP_SNAPSHOT: way },
      });
      const { fixed, code, stdout, stderr } = await backUp(actions);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/^onevmdump-23-\d+\.tar\.gz \d+ raw\n$/);

      const name = stdout.split(' ')[0] ?? '';
      const bundle = join(basePath, '23', name);
      expect(await readdir(join(basePath, '23'))).toEqual([name]);
      await scene.extracted(bundle, async (out) => {
        await expectOnePointInTime(out, before, kept);
        const { last } = await readNumbers(join(out, 'backup.disk.0'), 'raw');
        expect(last).toBeLessThanOrEqual(fixed);
        const disks = (await readdir(out)).filter((one) => one.startsWith('backup.disk.'));
        expect(disks.sort()).toEqual(members('', [0, 1, 3, 5]));
      });
      const shown = await scene.onevmdump(['show', bundle, '--json']);
      expect(JSON.parse(shown.stdout)).toMatchObject({ consistency: { level: 'agent' } });
      await rm(basePath, { recursive: true });
      expect(await scene.leftByNow()).toEqual(nothingLeft);
      expect(await readdir(join(scene.folder, 'state/prepared')).catch(() => [])).toEqual([]);
      expect(await tracesOn(lab, vm)).toBe(traces);
      await expectWriting();
    },
  );
});
