// TM lvm of OpenNebula 7.4, whose volumes are in the groups of the images' datastores; and VMs that have disks of TM
// fs_lvm_ssh as well.
import { describe, expect, test } from '@jest/globals';
import { UnsupportedError } from '../../lib/report/errors.ts';
import { snapshotDisks } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import { diskVolume } from '../../lib/storage/lvm/names.ts';
import type { Disk, Vm } from '../../lib/vm/vm.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { FakeVolume } from './fake-lvm.ts';
import { inScene, type Scene, type SceneFacts, byStorage } from './lvm-scene.ts';

const single = (name: string, text: string | number): string => `<${name}>${text}</${name}>`;
const diskXml = (facts: Record<string, string | number>): string => {
  const all = { TYPE: 'BLOCK', TM_MAD: 'lvm', FORMAT: 'raw', DRIVER: 'raw', ...facts };
  const parts = Object.entries(all).map(([name, text]) => single(name, text));
  return `<DISK>${parts.join('')}</DISK>`;
};

/** VM 7 on system datastore 0 of TM lvm, powered off. */
function vmOf(disks: readonly string[], { tmMad = 'lvm', state = 8, lcmState = 0 } = {}): Vm {
  return parseVm(
    Buffer.from(
      `<VM><ID>7</ID><NAME>seven</NAME><STATE>${state}</STATE><LCM_STATE>${lcmState}</LCM_STATE>
       <DEPLOY_ID>one-7</DEPLOY_ID><TEMPLATE>${disks.join('')}</TEMPLATE><HISTORY_RECORDS><HISTORY><SEQ>0</SEQ>
       <HOSTNAME>localhost</HOSTNAME><TM_MAD>${tmMad}</TM_MAD><DS_ID>0</DS_ID></HISTORY></HISTORY_RECORDS></VM>`,
    ),
  );
}

const clone = diskXml({
  ...{ DISK_ID: 0, IMAGE_ID: 5, DATASTORE_ID: 100, CLONE: 'YES', TARGET: 'vda' },
});
const persistent = diskXml({
  ...{ DISK_ID: 1, IMAGE_ID: 6, DATASTORE_ID: 101, CLONE: 'NO', PERSISTENT: 'YES', TARGET: 'vdb' },
});
const cdrom = diskXml({
  ...{ DISK_ID: 2, IMAGE_ID: 9, DATASTORE_ID: 101, CLONE: 'NO', READONLY: 'YES', TYPE: 'CDROM' },
});
const volatile = diskXml({ DISK_ID: 3, DATASTORE_ID: 0, TYPE: 'fs', FORMAT: 'raw', TARGET: 'vdc' });

const nameOf = (disks: readonly string[], id: number, tmMad = 'lvm'): unknown => {
  const planned = vmOf(disks, { tmMad });
  return diskVolume(planned, planned.disks.find((disk) => disk.id === id) as Disk);
};

describe('the volume of a disk of TM lvm', () => {
  test('the volume of a non-persistent image of TM lvm is a copy for the VM, in the group of its image', () => {
    expect(nameOf([clone], 0)).toEqual({ group: 'vg-one-100', name: 'vm-one-7-0' });
  });

  test('the volume of a persistent image of TM lvm is the image itself, in the group of its own datastore', () => {
    expect(nameOf([clone, persistent], 1)).toEqual({ group: 'vg-one-101', name: 'img-one-6' });
  });

  test('the volume of a CD-ROM of TM lvm is the image itself', () => {
    expect(nameOf([clone, cdrom], 2)).toEqual({ group: 'vg-one-101', name: 'img-one-9' });
  });

  test('the volume of a volatile disk is in the group of the first DISK of TM lvm in the document, since its own datastore is the system datastore', () => {
    expect(nameOf([persistent, clone, volatile], 3)).toEqual({
      ...{ group: 'vg-one-101', name: 'vm-one-7-3' },
    });
    const ofFiles = diskXml({ DISK_ID: 4, TM_MAD: 'shared', IMAGE_ID: 1, DATASTORE_ID: 1 });
    expect(nameOf([ofFiles, clone, volatile], 3)).toEqual({
      ...{ group: 'vg-one-100', name: 'vm-one-7-3' },
    });
  });

  test('the volume of a volatile disk of a VM with an image of TM lvm is that of its system datastore, if that is of TM fs_lvm_ssh', () => {
    expect(nameOf([clone, volatile], 3, 'fs_lvm_ssh')).toEqual({
      ...{ group: 'vg-one-0', name: 'lv-one-7-3' },
    });
  });

  test.each([
    ['has no DATASTORE_ID', { CLONE: 'YES', IMAGE_ID: 5 }, 'in which datastore'],
    ['has no image', { CLONE: 'NO', DATASTORE_ID: 100 }, 'has no IMAGE_ID'],
  ])('a disk of TM lvm that %s is refused', (_, facts, why) => {
    const planned = vmOf([diskXml({ DISK_ID: 0, ...facts })]);
    expect(() => planDumps(planned, new Map())).toThrow(UnsupportedError);
    expect(() => planDumps(planned, new Map())).toThrow(why);
  });
});

/** As lvm.rb makes them: an image that is not persistent is thick, all others are thin. */
const volumes: readonly FakeVolume[] = [
  { name: 'img-one-5', mb: 200, group: 'vg-one-100' },
  { ...{ name: 'vm-one-7-pool', mb: 264, group: 'vg-one-100' }, ...pool() },
  { ...thin('vm-one-7-0', 200, 'vg-one-100', 'vm-one-7-pool'), origin: 'img-one-5' },
  thin('vm-one-7-3', 64, 'vg-one-100', 'vm-one-7-pool'),
  { ...{ name: 'img-one-6-pool', mb: 64, group: 'vg-one-101' }, ...pool() },
  thin('img-one-6', 64, 'vg-one-101', 'img-one-6-pool'),
  { name: 'img-one-9', mb: 8, group: 'vg-one-101' },
];

function pool(): Partial<FakeVolume> {
  return { isPool: true, data: 10, metadata: 10 };
}

function thin(name: string, mb: number, group: string, inPool: string): FakeVolume {
  return { name, mb, group, pool: inPool, data: 10 };
}

const active = (list: readonly FakeVolume[]): FakeVolume[] =>
  list.map((one) => ({ ...one, active: true }));

const facts = (planned: Vm, more: Partial<SceneFacts> = {}): SceneFacts => ({
  ...{ vm: planned, disks: planned.disks, volumes, lvmGroups: ['vg-one-100', 'vg-one-101'] },
  links: {
    ...{ 0: 'vg-one-100/vm-one-7-0', 1: 'vg-one-101/img-one-6' },
    ...{ 2: 'vg-one-101/img-one-9', 3: 'vg-one-100/vm-one-7-3' },
  },
  domain: ['vda', 'vdb', 'hda', 'vdc'].map((target, id) => ({
    ...{ target, file: `/var/lib/one/datastores/0/7/disk.${id}`, format: 'raw', type: 'block' },
  })),
  ...more,
});

const all = [clone, persistent, cdrom, volatile];
const changedVolumes = ({ lvm }: Scene): string[] =>
  lvm.changes.map((line) => line.replace(/^(\S+).* (\S+)$/, '$1 $2'));

describe('a VM with volumes in two groups', () => {
  test('a VM with volumes of TM lvm in two groups that is off has all of them activated, and those that are its alone deactivated again', () =>
    inScene(facts(vmOf(all)), async (scene) => {
      const { disks, consistency } = await scene.fix();
      expect(consistency.level).toBe('offline');
      expect(disks.map(({ id }) => id)).toEqual([0, 1, 2, 3]);
      await scene.undo();
      const [one, two] = ['vg-one-100', 'vg-one-101'];
      expect(changedVolumes(scene).sort()).toEqual(
        [
          ...[`${one}/vm-one-7-0`, `${one}/vm-one-7-0`, `${one}/vm-one-7-3`, `${one}/vm-one-7-3`],
          ...[`${two}/img-one-6`, `${two}/img-one-6`, `${two}/img-one-9`],
        ].map((volume) => `lvchange ${volume}`),
      );
      const left = [...scene.lvm.volumes.values()].filter((volume) => volume.active);
      expect(left.map(({ name }) => name)).toEqual(['img-one-9']);
    }));

  test('a VM with volumes of TM lvm in two groups that runs gets snapshots in both under the locks of both, which are free afterwards', () => {
    const planned = vmOf(all, { state: 3, lcmState: 3 });
    const held: unknown[] = [];
    let locks: ReadonlySet<string> = new Set();
    const meddle = (line: string): void => {
      if (line.startsWith('lvcreate')) held.push([...locks]);
    };
    return inScene(facts(planned, { volumes: active(volumes), meddle }), async (scene) => {
      ({ locks } = scene.lvm);
      await scene.fix();
      expect(changedVolumes(scene)).toEqual([
        'lvcreate vg-one-100/vm-one-7-0',
        'lvcreate vg-one-100/vm-one-7-3',
        'lvcreate vg-one-101/img-one-6',
      ]);
      const both = ['tm-onelvm-vg-one-100.lock', 'tm-onelvm-vg-one-101.lock'];
      expect(held).toEqual([both, both, both]);
      expect([...locks]).toEqual([]);
      await scene.undo();
      expect([...scene.lvm.volumes.keys()]).toEqual(volumes.map(({ name }) => name));
    });
  });

  test('a VM with volumes of TM lvm and of TM fs_lvm_ssh that runs gets snapshots in both groups at the same point in time', () => {
    const planned = vmOf([clone, volatile], { tmMad: 'fs_lvm_ssh', state: 3, lcmState: 3 });
    const more = { name: 'lv-one-7-3', mb: 64, active: true };
    const given = facts(planned, {
      volumes: [...active(volumes), more],
      links: { 0: 'vg-one-100/vm-one-7-0' },
    });
    return inScene(given, async (scene) => {
      expect((await scene.fix()).consistency.level).toBe('agent');
      expect(changedVolumes(scene)).toEqual([
        'lvcreate vg-one-0/lv-one-7-3',
        'lvcreate vg-one-100/vm-one-7-0',
      ]);
    });
  });

  test('a VM with volumes of TM lvm in two groups is not frozen, and no group stays locked, when the lock of the second one is not free', () => {
    const planned = vmOf(all, { state: 3, lcmState: 3 });
    const meddleLock = (name: string): void => {
      if (name.includes('101')) throw new Error('');
    };
    return inScene(facts(planned, { volumes: active(volumes), meddleLock }), async (scene) => {
      await expect(scene.fix()).rejects.toThrow(
        /^cannot make snapshots of disk 0 and disk 3 and disk 1 of VM 7: OpenNebula's lock .*101\.lock .* is held/,
      );
      expect(scene.libvirt.calls).not.toContain('guest-fsfreeze-freeze');
      expect([...scene.lvm.locks]).toEqual([]);
    });
  });

  test('a VM with volumes of TM lvm in two groups is refused when one group has no room for its snapshots', () => {
    const planned = vmOf(all, { state: 3, lcmState: 3 });
    const full = active(volumes).map((one) =>
      one.name === 'img-one-6-pool' ? { ...one, data: 99 } : one,
    );
    return inScene(facts(planned, { volumes: full }), async (scene) => {
      await expect(scene.fix()).rejects.toThrow('the thin pool vg-one-101/img-one-6-pool has ');
      expect(scene.lvm.changes).toEqual([]);
    });
  });

  test('a VM with volumes of TM lvm in two groups is refused when one was written to while it was read', () =>
    inScene(facts(vmOf(all)), async (scene) => {
      const snapshot = await scene.fix();
      const one = scene.lvm.volumes.get('img-one-6')!;
      scene.lvm.volumes.set(one.name, { ...one, writes: 3 });
      await expect(snapshot.requireUnwritten()).rejects.toThrow(
        'disk 1 of VM 7 was written to while it was being read: /dev/vg-one-101/img-one-6',
      );
    }));
});

describe('an image of TM lvm that other VMs may use', () => {
  test('a CD-ROM of TM lvm that another VM has open is read', () => {
    const open = volumes.map((one) =>
      one.name === 'img-one-9' ? { ...one, active: true, open: true } : one,
    );
    return inScene(facts(vmOf(all), { volumes: open }), async (scene) => {
      const snapshot = await scene.fix();
      await snapshot.requireUnwritten();
      expect(snapshot.disks).toHaveLength(4);
    });
  });

  test('a thin CD-ROM of TM lvm is not activated, since its pool may be active where another VM runs', () => {
    const thinCdrom = volumes.map((one) =>
      one.name === 'img-one-9' ? { ...one, pool: 'img-one-9-pool' } : one,
    );
    const undeployed = vmOf(all, { state: 9 });
    return inScene(facts(undeployed, { volumes: thinCdrom }), async (scene) => {
      await expect(scene.fix()).rejects.toThrow(
        /^disk 2 of VM 7 is a thin volume that is not active on .*, and on the machines of other VMs that use it it may be: its pool vg-one-101\/img-one-9-pool is destroyed/,
      );
      expect(scene.lvm.changes).toEqual([]);
    });
  });

  const shareable = persistent.replace('<TYPE>', '<SHAREABLE>YES</SHAREABLE><TYPE>');

  test('a shareable image of TM lvm of a VM that is off is read with a warning', () =>
    inScene(
      facts(vmOf([clone, shareable]), { volumes: active(volumes) }),
      async ({ fix, warnings }) => {
        await fix();
        expect(warnings).toEqual([expect.stringMatching(/^disk 1 of VM 7 is shareable: if other/)]);
      },
    ));

  test('a shareable image of TM lvm gets no snapshot, which would not notice what VMs on other machines write', () => {
    const planned = vmOf([clone, shareable], { state: 3, lcmState: 3 });
    return inScene(facts(planned, { volumes: active(volumes) }), async ({ fix, lvm, libvirt }) => {
      await expect(fix()).rejects.toThrow(
        /^cannot make a snapshot of disk 1 of VM 7: it is shareable, .*--snapshot qemu$/,
      );
      expect(lvm.changes).toEqual([]);
      expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
    });
  });

  test('an immutable image of TM lvm gets no snapshot while the VM runs, since nobody writes to it', () => {
    const immutable = persistent.replace(
      '<PERSISTENT>YES</PERSISTENT>',
      '<READONLY>YES</READONLY>',
    );

    const planned = vmOf([clone, immutable], { state: 3, lcmState: 3 });
    return inScene(facts(planned, { volumes: active(volumes) }), async (scene) => {
      await snapshotDisks(planDumps(planned, new Map()), scene.run, byStorage);
      expect(changedVolumes(scene)).toEqual(['lvcreate vg-one-100/vm-one-7-0']);
    });
  });
});
