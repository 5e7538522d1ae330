import { describe, expect, test } from '@jest/globals';
import { FailedError, InterruptedError, UnsupportedError } from '../../lib/report/errors.ts';
import type { Run } from '../../lib/run/run.ts';
import { withHostAdvice } from '../../lib/storage/wrong-machine.ts';
import { snapshotDisks } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import type { Disk, Vm } from '../../lib/vm/vm.ts';
import { vm, type World } from '../support/storage-world.ts';
import type { FakeLvm, FakeVolume } from './fake-lvm.ts';
import {
  asOpenNebulaDeploys,
  byStorage,
  inScene,
  lvmDisk,
  thick,
  type Scene,
} from './lvm-scene.ts';

const on = (tmMad: string): Partial<Vm> => ({
  history: { seq: 0, stime: undefined, hostname: 'one', tmMad, datastoreId: 0 },
});
const off = on('fs_lvm_ssh');
const running = { ...off, state: 3, lcmState: 3, deployId: 'one-7' };
const thin = [
  { name: 'lv-one-7-pool', mb: 264, data: 50, metadata: 10, isPool: true },
  { name: 'lv-one-7-0', mb: 200, pool: 'lv-one-7-pool', data: 20 },
  { name: 'lv-one-7-1', mb: 64, pool: 'lv-one-7-pool', data: 100 },
];
const active = <T extends object>(list: readonly T[]): T[] =>
  list.map((one) => ({ ...one, active: true }));

const plan = (one: Partial<Disk>, facts: Partial<Vm> = off): unknown =>
  planDumps(vm([lvmDisk(0, one)], facts), new Map());

describe('a disk on LVM', () => {
  test.each(['fs_lvm', 'fs_lvm_ssh'])(
    'a disk on LVM of TM_MAD %s can be planned, off or running',
    (tmMad) => {
      expect(plan({ tmMad }, { ...off, state: 8 })).toHaveLength(1);
      expect(plan({ tmMad }, { ...off, state: 9 })).toHaveLength(1);
      expect(plan({ tmMad }, running)).toHaveLength(1);
    },
  );

  test('a disk on LVM that is volatile follows the system datastore', () => {
    expect(plan({ type: 'fs', tmMad: 'ssh' }, on('fs_lvm'))).toHaveLength(1);
  });

  test.each([
    ['in another state', {}, { state: 3, lcmState: 4 }, 'in state MIGRATE'],
    ['declared as qcow2', { format: 'qcow2' }, {}, 'which is raw, but declared as qcow2'],
    ['of a VM that never ran', {}, { history: undefined }, 'was never deployed'],
  ])('a disk on LVM %s is refused', (_, one, facts, why) => {
    expect(() => plan(one, { ...off, ...facts })).toThrow(UnsupportedError);
    expect(() => plan(one, { ...off, ...facts })).toThrow(why);
  });
});

describe('the volumes of a VM that is off', () => {
  test('the volumes of a VM that is off are named when their volume group cannot be looked at', () =>
    inScene(
      {
        vm: off,
        meddle: (line) => {
          if (line.startsWith('lvs')) throw new FailedError('lvs: is not installed');
        },
      },
      async ({ fix }) => {
        await expect(fix()).rejects.toThrow(
          /lvs: is not installed; it is to have disk 0 and disk 1 of VM 7$/,
        );
      },
    ));

  test('the volumes of a VM that is off are activated with the way back in the journal first, and inactive after the undo', () => {
    let recorded = 0;
    const meddle = (line: string): void => {
      if (line.startsWith('lvchange') && line.includes('-ay')) {
        recorded += 1;
        expect(world?.undone()).toHaveLength(recorded);
      }
    };
    let world: World | undefined;
    return inScene({ vm: off, meddle }, async (scene) => {
      ({ world } = scene);
      const { disks, consistency } = await scene.fix();
      expect(consistency.level).toBe('offline');
      expect(disks.map(({ id, layout }) => [id, layout.format])).toEqual([
        [0, 'raw'],
        [1, 'raw'],
      ]);
      expect(scene.lvm.changes).toEqual([
        'lvchange --quiet -ay -K vg-one-0/lv-one-7-0',
        'lvchange --quiet -ay -K vg-one-0/lv-one-7-1',
      ]);
      await scene.undo();
      expect([...scene.lvm.volumes.values()].map((one) => one.active)).toEqual([false, false]);
    });
  });

  test('the volumes of a VM that is off that were active stay so', () =>
    inScene({ vm: off, volumes: active(thick) }, async ({ fix, undo, lvm }) => {
      await fix();
      await undo();
      expect(lvm.changes).toEqual([]);
    }));

  test('the volumes of a VM that is off that somebody uses by the time of the undo stay active', () =>
    inScene({ vm: off }, async ({ fix, undo, lvm }) => {
      await fix();
      const one = lvm.volumes.get('lv-one-7-1');
      if (one) lvm.volumes.set(one.name, { ...one, open: true });
      await undo();
      expect([...lvm.volumes.values()].map((each) => each.active)).toEqual([false, true]);
    }));

  test('the volumes of a VM that is off are refused when one stays open, since the guest may run in spite of the state', () => {
    const volumes = [thick[0]!, { ...thick[1]!, active: true, open: true }];
    return inScene({ vm: off, volumes }, async ({ fix, lvm, world }) => {
      await expect(fix()).rejects.toThrow(
        /^disk 1 of VM 7 is in use, although the VM is POWEROFF: \/dev\/vg-one-0\/lv-one-7-1 is open on /,
      );
      expect(lvm.changes).toEqual([]);
      expect(world.undone()).toEqual([]);
    });
  });

  test('the volumes of a VM that is off are exported when who has one open lets go of it in a moment, such as udev', () => {
    const volumes = [thick[0]!, { ...thick[1]!, active: true, open: true }];
    let looks = 0;
    const meddle = (line: string): void => {
      const one = lvm?.volumes.get('lv-one-7-1');
      if (line.startsWith('lvs') && ++looks === 3 && one) {
        lvm?.volumes.set(one.name, { ...one, open: false });
      }
    };
    let lvm: FakeLvm | undefined;
    return inScene({ vm: off, volumes, meddle }, async (scene) => {
      ({ lvm } = scene);
      expect((await scene.fix()).consistency.level).toBe('offline');
    });
  });

  // tm/fs_lvm_ssh leaves the volumes of a VM that is powered off active on its host.
  describe('that are thin and not active', () => {
    const elsewhere = {
      ...{ seq: 0, stime: undefined, tmMad: 'fs_lvm_ssh', datastoreId: 0 },
      hostname: 'node2.invalid',
    };

    test('thin volumes of a VM that is off are not activated on another machine than that of the VM, since that would destroy their pool', () =>
      inScene({ vm: { history: elsewhere }, volumes: thin }, async ({ run, lvm, world }) => {
        const planned = vm([lvmDisk(0)], { history: elsewhere });
        const plans = planDumps(planned, new Map());
        const work = withHostAdvice(planned, run, () => snapshotDisks(plans, run));
        await expect(work).rejects.toThrow(
          /^disk 0 of VM 7 is a thin volume that is not active on .*, and on node2\.invalid, where the VM was last, it may be: its pool vg-one-0\/lv-one-7-pool is destroyed .*: lvchange -ay -K vg-one-0\/lv-one-7-0; .*: try --remote-host node2\.invalid$/,
        );
        expect(lvm.changes).toEqual([]);
        expect(world.undone()).toEqual([]);
      }));

    test('thin volumes of a VM that is off are not activated by ssh on another host than that of the VM', () =>
      inScene({ vm: { history: elsewhere }, volumes: thin }, async ({ run, lvm }) => {
        const runner = { ...run.runner, target: { host: 'node1.invalid' } };
        const plans = planDumps(vm([lvmDisk(0)], { history: elsewhere }), new Map());
        await expect(snapshotDisks(plans, { ...run, runner })).rejects.toThrow('node2.invalid');
        expect(lvm.changes).toEqual([]);
      }));

    test.each<[string, Partial<Vm>, Run['runner']['target']]>([
      ['by ssh on the host of the VM', { history: elsewhere }, { host: 'node2.invalid' }],
      [
        'on this machine when that is the host of the VM',
        { history: { ...elsewhere, hostname: 'localhost' } },
        undefined,
      ],
      [
        'anywhere for an undeployed VM, which has them active nowhere',
        { history: elsewhere, state: 9 },
        undefined,
      ],
    ])('thin volumes of a VM that is off are activated %s', (_, facts, target) =>
      inScene({ vm: facts, volumes: thin }, async ({ run, lvm }) => {
        const runner = { ...run.runner, target };
        const plans = planDumps(vm([lvmDisk(0)], facts), new Map());
        await snapshotDisks(plans, { ...run, runner });
        expect(lvm.changes).toEqual(['lvchange --quiet -ay -K vg-one-0/lv-one-7-0']);
      }),
    );

    test('thin volumes of a VM that is off are read on another machine when somebody has activated them there', () =>
      inScene({ vm: { history: elsewhere }, volumes: active(thin) }, async ({ fix, lvm }) => {
        expect((await fix()).consistency.level).toBe('offline');
        expect(lvm.changes).toEqual([]);
      }));
  });

  describe('that were looked at again when all had been read', () => {
    const changed = (
      facts: Partial<FakeVolume>,
      disks = [lvmDisk(0), lvmDisk(1)],
    ): Promise<unknown> => {
      let result: Promise<unknown> = Promise.resolve();
      return inScene({ vm: off, disks }, async ({ fix, lvm }) => {
        const snapshot = await fix();
        const one = lvm.volumes.get('lv-one-7-1')!;
        lvm.volumes.set(one.name, { ...one, ...facts });
        result = snapshot.requireUnwritten();
        await result.catch(() => undefined);
      }).then(() => result);
    };

    test('the volumes of a VM that is off that are looked at again after reading are good when nobody has touched them', () =>
      expect(changed({})).resolves.toBeUndefined());

    test('the volumes of a VM that is off that are looked at again after reading are refused when one is in use by then, since its guest has been started meanwhile', () =>
      expect(changed({ open: true })).rejects.toThrow(
        /^disk 1 of VM 7 is in use, although the VM is POWEROFF: .*lv-one-7-1 is open on /,
      ));

    test('the volumes of a VM that is off that are looked at again after reading are refused when one was written to, as by a guest that ran and was shut down meanwhile', () =>
      expect(changed({ writes: 3 })).rejects.toThrow(
        /^disk 1 of VM 7 was written to while it was being read: \/dev\/vg-one-0\/lv-one-7-1 on .*; export it again$/,
      ));

    test('the volumes of a VM that is off that are looked at again after reading are good when it is a CD-ROM that is in use, since nobody writes to one', () =>
      expect(
        changed({ open: true }, [lvmDisk(0), lvmDisk(1, { type: 'CDROM' })]),
      ).resolves.toBeUndefined());
  });

  test('the volumes of a VM that is off are handled by sudo for everybody but root', () =>
    inScene({ vm: off, user: 9869 }, async ({ fix, lvm }) => {
      await fix();
      expect(lvm.lines[0]).toMatch(/^sudo -n lvs --reportformat json /);
      expect(lvm.lines.at(-1)).toBe('sudo -n lvchange --quiet -ay -K vg-one-0/lv-one-7-1');
      expect(lvm.lines.every((line) => line.startsWith('sudo -n lv'))).toBe(true);
    }));

  test('the volumes of a VM that is off that are missing are named', () =>
    inScene({ vm: off, volumes: thick.slice(0, 1) }, async ({ fix, lvm }) => {
      await expect(fix()).rejects.toThrow(
        'disk 1 of VM 7 is missing: there is no volume lv-one-7-1 in the volume group vg-one-0',
      );
      expect(lvm.changes).toEqual([]);
    }));

  test('the volumes of a VM that is off that are in a missing volume group fail with LVM’s words', () =>
    inScene({ vm: off, group: 'vg-one-1' }, async ({ fix }) => {
      await expect(fix()).rejects.toThrow(/volume group vg-one-0: lvs: .*"vg-one-0" not found/);
    }));

  test('volumes that the export may not read are refused with the reason', () =>
    inScene({ vm: off, unreadable: ['/dev/vg-one-0/lv-one-7-1'] }, async ({ fix }) => {
      await expect(fix()).rejects.toThrow(/disk 1 of VM 7: .*oneadmin is in the group disk/);
    }));
});

describe('the volumes of a running VM', () => {
  test('the volumes of a running VM get one snapshot each between a freeze and a thaw, and nothing else', () =>
    inScene({ vm: running, volumes: active(thick) }, async ({ fix, lvm, libvirt, world }) => {
      const { consistency } = await fix();
      expect(consistency.level).toBe('agent');
      expect(lvm.changes).toEqual([
        'lvcreate --quiet --autobackup n --snapshot --permission r --extents 10 --chunksize 4096b --name onevmdump-test-0 vg-one-0/lv-one-7-0',
        'lvcreate --quiet --autobackup n --snapshot --permission r --extents 4 --chunksize 4096b --name onevmdump-test-1 vg-one-0/lv-one-7-1',
      ]);
      expect(libvirt.frozen()).toBe(false);
      expect(libvirt.calls).toContain('guest-fsfreeze-freeze');
      expect(world.undone().map(({ kind }) => kind)).toEqual([
        'remove-snapshot-lv',
        'remove-snapshot-lv',
      ]);
    }));

  test("the snapshots of a running VM's volumes are made while the guest is frozen, with the way back in the journal first", () => {
    const seen: unknown[] = [];
    let scene: Scene | undefined;
    const meddle = (line: string): void => {
      if (line.startsWith('lvcreate')) {
        seen.push([scene?.libvirt.frozen(), scene?.world.undone().map(({ kind }) => kind)]);
      }
    };
    return inScene({ vm: running, volumes: active(thick), meddle }, async (one) => {
      scene = one;
      await one.fix();
      const kinds = ['remove-snapshot-lv', 'remove-snapshot-lv', 'thaw'];
      expect(seen).toEqual([
        [true, kinds],
        [true, kinds],
      ]);
    });
  });

  test("the snapshots of a running VM's volumes are made under the locks of OpenNebula, which are taken before the guest is frozen", () => {
    const seen: unknown[] = [];
    let scene: Scene | undefined;
    const look = (what: string): void => void seen.push([what, [...(scene?.lvm.locks ?? [])]]);
    const facts = {
      ...{ vm: running, volumes: active(thick) },
      meddle: (line: string) => {
        if (line.startsWith('lvcreate')) look('lvcreate');
      },
      meddleLibvirt: (call: string) => {
        if (call.startsWith('guest-fsfreeze-freeze')) look('freeze');
      },
    };
    return inScene(facts, async (one) => {
      scene = one;
      await one.fix();
      const both = ['tm-fs_lvm-0.lock', 'tm-onelvm-vg-one-0.lock'];
      expect(seen).toEqual([
        ['freeze', both],
        ['lvcreate', both],
        ['lvcreate', both],
      ]);
      expect([...one.lvm.locks]).toEqual([]);
    });
  });

  test("the snapshots of a running VM's volumes are not made, and the guest is not frozen, when one of OpenNebula's locks is not free in time", () => {
    const meddleLock = (name: string): void => {
      if (name.startsWith('tm-onelvm')) throw new Error('');
    };
    const facts = { vm: running, volumes: active(thick), meddleLock };
    return inScene(facts, async ({ fix, lvm, libvirt }) => {
      await expect(fix()).rejects.toThrow(
        /^cannot make snapshots of disk 0 and disk 1 of VM 7: OpenNebula's lock \/var\/lock\/one\/tm-onelvm-vg-one-0\.lock on .* is held by another program/,
      );
      expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
      expect(lvm.changes).toEqual([]);
      expect([...lvm.locks]).toEqual([]);
    });
  });

  test("the snapshots of a running VM's volumes are not made yet, and the lock of the front-end is free for OpenNebula, while that of the host is not", () => {
    let tries = 0;
    const meddleLock = (name: string): void => {
      if (name.startsWith('tm-onelvm') && ++tries <= 3) throw new Error('');
    };
    const facts = { vm: running, volumes: active(thick), meddleLock };
    return inScene(facts, async ({ fix, lvm }) => {
      // A lock that were kept could not be taken once more.
      await fix();
      expect(tries).toBe(4);
      expect([...lvm.locks]).toEqual([]);
    });
  });

  test("of the snapshots of a running VM's volumes one that cannot be made fails the export with its disk's name, and the locks are free again", () => {
    const meddle = (line: string): void => {
      if (/^lvcreate.*lv-one-7-1$/.test(line)) throw new Error('insufficient free space');
    };
    const facts = { vm: running, volumes: active(thick), meddle };
    return inScene(facts, async ({ fix, lvm, libvirt }) => {
      await expect(fix()).rejects.toThrow(
        /^cannot make the snapshot onevmdump-test-1 of disk 1 of VM 7 \(vg-one-0\/lv-one-7-1\) on .*: lvcreate: insufficient free space$/,
      );
      expect(libvirt.frozen()).toBe(false);
      expect([...lvm.locks]).toEqual([]);
    });
  });

  test('the snapshots of twelve disks are made by one command, since each by ssh would cost the guest a session', () => {
    const ids = Array.from({ length: 12 }, (_, id) => id);
    const facts = {
      vm: running,
      disks: ids.map((id) => lvmDisk(id, { target: `vd${'abcdefghijkl'.charAt(id)}` })),
      volumes: ids.map((id) => ({ name: `lv-one-7-${id}`, mb: 8, active: true })),
      domain: ids.map((id) => ({
        ...{ target: `vd${'abcdefghijkl'.charAt(id)}`, format: 'raw', type: 'block' },
        file: `/var/lib/one/datastores/0/7/disk.${id}`,
      })),
    };
    return inScene(facts, async ({ run, lvm, world }) => {
      const begun: string[] = [];
      const runner: Run['runner'] = {
        ...run.runner,
        run(command, options) {
          begun.push(command.args.join(' '));
          return run.runner.run(command, options);
        },
      };
      await snapshotDisks(
        planDumps(vm(facts.disks, running), new Map()),
        { ...run, runner },
        byStorage,
      );
      expect(begun.filter((line) => line.includes('lvcreate'))).toHaveLength(1);
      expect(lvm.changes).toHaveLength(12);
      expect(world.undone()).toHaveLength(12);
    });
  });

  test.each(['agent', 'none'] as const)(
    'the volumes of a guest without an agent are each of a point in time of its own with %s: it is not paused, and a warning says so',
    (mode) => {
      const facts = { vm: running, volumes: active(thick), agentAnswers: false };
      return inScene(facts, async ({ run, libvirt, warnings }) => {
        const planned = planDumps(vm([lvmDisk(0), lvmDisk(1)], running), new Map());
        const { consistency } = await snapshotDisks(planned, run, {
          freeze: { mode, required: false },
          way: 'storage',
        });
        expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
        expect(libvirt.calls).not.toContain('suspend');
        expect(warnings.at(-1)).toMatch(/each of a point in time of its own.*--snapshot qemu/);
      });
    },
  );

  test('the only volume of a running VM needs no pause of the guest', () => {
    const disks = [lvmDisk(0)];
    return inScene({ vm: running, volumes: active(thick), disks }, async ({ run, libvirt }) => {
      const planned = planDumps(vm(disks, running), new Map());
      const { consistency } = await snapshotDisks(planned, run, {
        freeze: { mode: 'none', required: false },
        way: 'storage',
      });
      expect(consistency.level).toBe('crash');
      expect(libvirt.calls).not.toContain('suspend');
    });
  });

  test('thin volumes of a running VM get thin snapshots, which need no size', () =>
    inScene({ vm: running, volumes: active(thin) }, async ({ fix, undo, lvm }) => {
      await fix();
      expect(lvm.changes[0]).toBe(
        'lvcreate --quiet --autobackup n --snapshot --permission r --setactivationskip y --name onevmdump-test-0 vg-one-0/lv-one-7-0',
      );
      await undo();
      expect([...lvm.volumes.keys()]).toEqual(thin.map(({ name }) => name));
    }));

  test('the volumes of a running VM that hold a CD-ROM get no snapshot', () => {
    const disks = [lvmDisk(0), lvmDisk(1, { type: 'CDROM' })];
    return inScene({ vm: running, volumes: active(thick), disks }, async ({ fix, lvm }) => {
      expect((await fix()).disks).toHaveLength(2);
      expect(lvm.changes).toHaveLength(1);
    });
  });

  test.each([
    ['is not active', { volumes: thick }, /should run, but the volume .* is not active/],
    [
      'is another one for libvirt',
      { domain: asOpenNebulaDeploys.map((one) => ({ ...one, file: '/dev/vg-one-0/lv-one-7-1' })) },
      'disk 0 of VM 7 (vda) is /dev/vg-one-0/lv-one-7-0 for OpenNebula, but /dev/vg-one-0/lv-one-7-1 for libvirt',
    ],
    [
      'does not exist for libvirt',
      { domain: asOpenNebulaDeploys.map((one) => ({ ...one, file: 'nowhere' })) },
      'but nowhere for libvirt',
    ],
    ['is unknown to libvirt', { domain: [] }, '(vda) is unknown to libvirt'],
    [
      'is used as qcow2',
      { domain: asOpenNebulaDeploys.map((one) => ({ ...one, format: 'qcow2' })) },
      'but libvirt uses it as qcow2',
    ],
    [
      'is being copied',
      { domain: asOpenNebulaDeploys.map((one) => ({ ...one, more: '<mirror/>' })) },
      'is being copied or merged',
    ],
    ['has no room in the volume group', { freeMb: 55 }, /has 55.0 MiB free, but .* need 56.0 MiB/],
  ])(
    'the volumes of a running VM one of which %s are refused before the guest is frozen',
    (_, facts, why) =>
      inScene({ vm: running, volumes: active(thick), ...facts }, async ({ fix, lvm, libvirt }) => {
        await expect(fix()).rejects.toThrow(why);
        expect(lvm.changes).toEqual([]);
        expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
      }),
  );

  test.each([
    [
      'has no room for what is overwritten',
      { data: 95 },
      /has 13.2 MiB free, but .* overwrite 52.8 MiB/,
    ],
    ['has no room for its metadata', { metadata: 96 }, 'are full to 96 %'],
    ['is in trouble', { health: 'out_of_data' }, 'is not healthy: out_of_data'],
  ])(
    'the volumes of a running VM whose thin pool %s are refused before the guest is frozen',
    (_, facts, why) => {
      const volumes = active(thin).map((one) => (one.isPool ? { ...one, ...facts } : one));
      return inScene({ vm: running, volumes }, async ({ fix, lvm }) => {
        await expect(fix()).rejects.toThrow(why);
        expect(lvm.changes).toEqual([]);
      });
    },
  );

  test('the volumes of a running VM with snapshots of other exports are exported with a warning, and those stay', () => {
    const foreign = { name: 'onevmdump-0000-0', mb: 4, origin: 'lv-one-7-0', active: true };
    return inScene(
      { vm: running, volumes: [...active(thick), foreign] },
      async ({ fix, undo, lvm, warnings }) => {
        await fix();
        await undo();
        expect(warnings.join()).toContain('lvremove -f vg-one-0/onevmdump-0000-0');
        expect(lvm.volumes.has(foreign.name)).toBe(true);
      },
    );
  });

  test.each([1, 2])(
    'the volumes of a running VM are as before when snapshot %s fails, and the guest goes on',
    (which) =>
      inScene(
        {
          vm: running,
          volumes: active(thick),
          meddle: (line) => {
            if (line.startsWith('lvcreate') && line.includes(`-${which - 1} vg`)) {
              throw new Error('no luck');
            }
          },
        },
        async ({ fix, undo, lvm, libvirt }) => {
          await expect(fix()).rejects.toThrow(/make the snapshot onevmdump-test-\d .*no luck/);
          expect(libvirt.frozen()).toBe(false);
          await undo();
          expect([...lvm.volumes.keys()]).toEqual(thick.map(({ name }) => name));
        },
      ),
  );

  test('the volumes of a running VM are as before when the run is interrupted between two snapshots', () =>
    inScene(
      {
        vm: running,
        volumes: active(thick),
        meddle: (line) => {
          if (line.includes('-1 vg')) throw new InterruptedError('SIGTERM');
        },
      },
      async ({ fix, undo, lvm, libvirt }) => {
        await expect(fix()).rejects.toThrow();
        await undo();
        expect(libvirt.frozen()).toBe(false);
        expect([...lvm.volumes.keys()]).toEqual(thick.map(({ name }) => name));
      },
    ));
});
