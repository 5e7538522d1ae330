// LVM's programs as fakes on PATH: their exact words, with and without sudo, and how a failure reads.
import { expect, test } from '@jest/globals';
import { userInfo } from 'node:os';
import {
  activate,
  createLvmSnapshots,
  deactivate,
  devicePath,
  lvmOn,
  readVolumeGroup,
  removeVolume,
  type Lvm,
} from '../../lib/tools/lvm.ts';
import { lvsFields } from '../../lib/tools/lvs-report.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import { quiet } from '../support/nbd-servers.ts';
import { withFakes, type Fakes } from './fake-on-path.ts';

const volume = { group: 'vg-one-0', name: 'lv-one-7-0' };
const thick = { origin: volume, name: 'snap-0', extents: 12, label: 'disk 0' };
const thin = {
  ...{ origin: { group: 'vg-one-0', name: 'lv-one-7-1' }, name: 'snap-1' },
  ...{ extents: undefined, label: 'disk 1' },
};

/** LVM with fakes that do this. */
async function withLvm(
  programs: Readonly<Record<string, string>>,
  body: (lvm: Lvm, fakes: Fakes) => Promise<void>,
  user = 0,
): Promise<void> {
  const sudo = 'shift; exec "$@"';
  await withFakes({ id: `echo ${user}`, sudo, ...programs }, async (fakes) => {
    const lvm = await lvmOn(fakes.runner, fakes.runner);
    const calls = async () => (await fakes.calls()).filter(([program]) => program !== 'id');
    await body(lvm, { ...fakes, calls });
  });
}

test('a volume group is read by one call of lvs, in JSON and bytes', () =>
  withLvm({ lvs: `echo '{"report":[{"lv":[]}]}'` }, async (lvm, fakes) => {
    expect(await readVolumeGroup(lvm, 'vg-one-0')).toMatchObject({ name: 'vg-one-0' });
    expect(await fakes.calls()).toEqual([
      [
        ...['lvs', '--reportformat', 'json', '--units', 'b', '--nosuffix', '-o'],
        lvsFields,
        'vg-one-0',
      ],
    ]);
  }));

// LVM's programs are for root.
const asRoot = userInfo().uid === 0 ? test : test.skip;
asRoot('the real lvs knows every field, and says that there is no such volume group', async () => {
  const here = localRunner(quiet);
  await expect(
    readVolumeGroup({ runner: here, here, sudo: false }, 'onevmdump-no-such-group'),
  ).rejects.toThrow(
    /^cannot look at the volume group onevmdump-no-such-group: lvs: .*Volume group "onevmdump-no-such-group" not found/s,
  );
});

test.each([
  [0, []],
  [9869, ['sudo', '-n']],
])('user %i runs the programs of LVM by %j', (user, by) =>
  withLvm(
    { lvchange: '', lvremove: '' },
    async (lvm, fakes) => {
      await activate(lvm, volume);
      await deactivate(lvm, volume);
      await removeVolume(lvm, volume);
      const direct = (await fakes.calls()).filter(([program]) =>
        by.length === 0 ? true : program === 'sudo',
      );
      expect(direct).toEqual([
        [...by, 'lvchange', '--quiet', '-ay', '-K', 'vg-one-0/lv-one-7-0'],
        [...by, 'lvchange', '--quiet', '-an', 'vg-one-0/lv-one-7-0'],
        [...by, 'lvremove', '--quiet', '--force', 'vg-one-0/lv-one-7-0'],
      ]);
    },
    user,
  ),
);

test('the device of a volume is below the folder of its group', () => {
  expect(devicePath(volume)).toBe('/dev/vg-one-0/lv-one-7-0');
});

test('snapshots are made one after another: a thick one with its room, a thin one without', () =>
  withLvm({ lvcreate: '' }, async (lvm, fakes) => {
    await createLvmSnapshots(lvm, [thick, thin]);
    const common = ['lvcreate', '--quiet', '--autobackup', 'n', '--snapshot', '--permission', 'r'];
    expect(await fakes.calls()).toEqual([
      [
        ...common,
        ...['--extents', '12', '--chunksize', '4096b', '--name', 'snap-0', 'vg-one-0/lv-one-7-0'],
      ],
      [...common, '--setactivationskip', 'y', '--name', 'snap-1', 'vg-one-0/lv-one-7-1'],
    ]);
  }));

test('a snapshot that cannot be made is named with its disk, and none is made after it', () =>
  withLvm(
    { lvcreate: 'case "$*" in *snap-1*) echo "  Insufficient free space" >&2; exit 5 ;; esac' },
    async (lvm, fakes) => {
      await expect(
        createLvmSnapshots(lvm, [thick, thin, { ...thick, name: 'snap-2', label: 'disk 2' }]),
      ).rejects.toMatchObject({
        message:
          'cannot make the snapshot snap-1 of disk 1 (vg-one-0/lv-one-7-1) on this machine: lvcreate: Insufficient free space',
        status: 5,
      });
      expect((await fakes.calls()).map((words) => words.at(-2))).toEqual(['snap-0', 'snap-1']);
    },
  ));

test('names of volumes reach lvcreate as they are, through the shell that runs it', () =>
  withLvm({ lvcreate: '' }, async (lvm, fakes) => {
    const name = `$(id) 'a' "b"\n;`;
    await createLvmSnapshots(lvm, [{ ...thick, name }]);
    expect((await fakes.calls())[0]?.at(-2)).toBe(name);
  }));

test('a volume that is in use is an error in the words of LVM', () =>
  withLvm(
    { lvchange: 'echo "  Logical volume vg-one-0/lv-one-7-0 in use." >&2; exit 5' },
    async (lvm) => {
      await expect(deactivate(lvm, volume)).rejects.toThrow(
        'cannot deactivate the volume vg-one-0/lv-one-7-0: lvchange: Logical volume vg-one-0/lv-one-7-0 in use.',
      );
    },
  ));

test('sudo that asks for a password is the reason of the error', () =>
  withLvm(
    { sudo: 'echo "sudo: a password is required" >&2; exit 1' },
    async (lvm) => {
      await expect(activate(lvm, volume)).rejects.toThrow(
        'cannot activate the volume vg-one-0/lv-one-7-0: sudo: a password is required',
      );
    },
    9869,
  ));
