import { describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError, InterruptedError, UnsupportedError } from '../../lib/report/errors.ts';
import { remedy } from '../../lib/run/undo.ts';
import { awaitLostClients } from '../../lib/storage/ceph/snapshots.ts';
import { undoSnapshot } from '../../lib/storage/ceph/undo.ts';
import { snapshotDisks, type SnapshotRequest } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import { factsOf, undoHandlers } from '../../lib/session/undo-handlers.ts';
import type { Disk, Vm } from '../../lib/vm/vm.ts';
import { quiet, wholeDisk } from '../support/nbd-servers.ts';
import { fakeCeph, watchers, type FakeCeph } from './fake-ceph.ts';
import { disk, inWorld, MiB, rawFile, vm, type World } from '../support/storage-world.ts';

const access = { cephUser: 'libvirt', cephKey: '/etc/ceph/key', cephConf: '/etc/ceph/c.conf' };
const options = ['--id', 'libvirt', '--keyfile', '/etc/ceph/key', '--conf', '/etc/ceph/c.conf'];

function rbdDisk(id: number, facts: Partial<Disk> = {}): Disk {
  return disk(id, {
    ...{ type: 'RBD', diskType: 'RBD', tmMad: 'ceph', source: 'one/one-3', target: `vd${id}` },
    ...access,
    ...facts,
  });
}

const ceph: Partial<Vm> = {
  history: { seq: 0, stime: undefined, hostname: 'one', tmMad: 'ceph', datastoreId: 0 },
};
const shared: Partial<Vm> = {
  history: { seq: 0, stime: undefined, hostname: 'one', tmMad: 'shared', datastoreId: 0 },
};
const running: Partial<Vm> = { state: 3, lcmState: 3, deployId: 'one-7' };

const byStorage: SnapshotRequest = {
  freeze: { mode: 'agent', required: false },
  way: 'storage',
};

interface Scene {
  readonly world: World;
  readonly cluster: FakeCeph;
  readonly run: World['run'];
}

function inScene(
  body: (scene: Scene) => Promise<void>,
  facts: Parameters<typeof fakeCeph>[0] = {},
): Promise<void> {
  return inWorld(async (world) => {
    const cluster = fakeCeph(facts);
    await body({ world, cluster, run: { ...world.run, runner: cluster.runner } });
  });
}

describe('the RBD image of a disk', () => {
  const nameOf = async (one: Disk): Promise<string> => {
    let name = '';
    await inScene(async ({ run, cluster }) => {
      await snapshotDisks(planDumps(vm([one], ceph), new Map()), run);
      name = cluster.calls[0]?.split(' ').at(-1) ?? '';
    });
    return name;
  };

  test.each<[string, Partial<Disk>, string]>([
    ['a clone', {}, 'one/one-3-7-2'],
    ['the image itself when it is persistent', { clone: false, persistent: true }, 'one/one-3'],
    ['the image itself for a CD-ROM', { clone: false, type: 'RBD_CDROM' }, 'one/one-3'],
    [
      'one of its own when it is volatile, in the pool of the datastore',
      { type: 'FS', source: undefined, poolName: 'ssd', clone: false },
      'ssd/one-sys-7-2',
    ],
    ['in the default pool', { type: 'SWAP', source: undefined }, 'one/one-sys-7-2'],
  ])('the RBD image of a disk is %s', async (_, facts, name) => {
    expect(await nameOf(rbdDisk(2, facts))).toBe(name);
  });

  test.each<[string, Partial<Disk>, string]>([
    ['no name', { source: undefined }, 'has no SOURCE'],
    ['no pool', { source: 'one-3' }, 'is not the name of an RBD image'],
    ['a name like an option', { source: '-p/one-3' }, 'is not the name of an RBD image'],
    ['the name of a snapshot', { source: 'one/one-3@snap', clone: false }, 'not the name of'],
    ['a name with a space', { source: 'one/one 3' }, 'is not the name of an RBD image'],
    ['a name that ends a line', { source: 'one/one\n3' }, 'is not the name of an RBD image'],
    ['a path for a name', { source: '/one/two/three/four' }, 'is not the name of an RBD image'],
    ['a user like an option', { cephUser: '--conf=/tmp/x' }, 'CEPH_USER is not the name of'],
    ['a key like an option', { cephKey: '--x' }, 'CEPH_KEY is not the absolute path'],
    ['a relative configuration', { cephConf: 'ceph.conf' }, 'CEPH_CONF is not the absolute path'],
    ['another format than raw', { format: 'qcow2' }, 'which is raw, but declared as qcow2'],
  ])('the RBD image of a disk is refused with %s', (_, facts, message) => {
    const plan = () => planDumps(vm([rbdDisk(0, facts)], ceph), new Map());
    expect(plan).toThrow(UnsupportedError);
    expect(plan).toThrow(message);
  });

  test('the RBD image of a disk with a key instead of the path of one is refused, and the key is not shown', () => {
    const key = 'AQBvdDlqAAAAABAAsecretsecretsecretsecret==';
    const plan = () => planDumps(vm([rbdDisk(0, { cephKey: key })], ceph), new Map());
    expect(plan).toThrow('CEPH_KEY');
    expect(plan).not.toThrow(key);
  });

  test('the RBD image of a disk of a VM in any other state is refused, with the state', () => {
    const moving = vm([rbdDisk(0)], { ...ceph, state: 3, lcmState: 4 });
    expect(() => planDumps(moving, new Map())).toThrow(
      'disk 0 of VM 7 is an RBD image, which cannot be dumped in state MIGRATE',
    );
  });
});

describe('the images of a VM', () => {
  const three = [
    rbdDisk(0),
    rbdDisk(1, { clone: false, persistent: true }),
    rbdDisk(2, { clone: false, type: 'RBD_CDROM', source: 'one/one-4' }),
  ];

  test('the RBD images of a VM are looked at first, and get a snapshot each, but for CD-ROMs', () =>
    inScene(async ({ run, cluster, world }) => {
      const { consistency } = await snapshotDisks(planDumps(vm(three, ceph), new Map()), run);
      expect(consistency).toMatchObject({ level: 'offline', frozenMs: 0 });
      expect(cluster.calls).toEqual([
        'info --format json one/one-3-7-0',
        'snap ls --format json one/one-3-7-0',
        'info --format json one/one-3',
        'snap ls --format json one/one-3',
        'info --format json one/one-4',
        'snap ls --format json one/one-4',
        'status --format json one/one-3-7-0',
        'status --format json one/one-3',
        'snap create one/one-3-7-0@onevmdump-test',
        'snap create one/one-3@onevmdump-test',
      ]);
      expect(cluster.options.every((found) => found.join(' ') === options.join(' '))).toBe(true);
      expect(world.undone()).toMatchObject([
        { kind: 'remove-rbd-snapshot', image: 'one/one-3-7-0', snapshot: 'onevmdump-test' },
        { kind: 'remove-rbd-snapshot', image: 'one/one-3', snapshot: 'onevmdump-test' },
      ]);
    }));

  test('the RBD images of a VM get their snapshots at the same time, which are in the journal before', () =>
    inScene(
      async ({ run, cluster, world }) => {
        cluster.onCreate(() => expect(world.undone()).toHaveLength(2));
        await snapshotDisks(planDumps(vm(three, ceph), new Map()), run);
        expect(cluster.mostAtOnce()).toBe(2);
      },
      { createMs: 100 },
    ));

  test('the RBD images of a VM without options where OpenNebula has none are those of the default cluster', () =>
    inScene(async ({ run, cluster }) => {
      const bare = { cephUser: undefined, cephKey: undefined, cephConf: undefined };
      await snapshotDisks(planDumps(vm([rbdDisk(0, bare)], ceph), new Map()), run);
      expect(cluster.options).toEqual([[], [], [], []]);
    }));

  test('the RBD images of a VM of which one cannot get a snapshot are not dumped; the others are awaited', () =>
    inScene(
      async ({ run, cluster }) => {
        const work = snapshotDisks(planDumps(vm(three, ceph), new Map()), run);
        await expect(work).rejects.toThrow(CommandError);
        await expect(work).rejects.toThrow(
          /^cannot create the snapshot onevmdump-test of the RBD image one\/one-3-7-0 \(disk 0 of VM 7[^)]*\): rbd: no quota$/,
        );
        expect([...cluster.snapshots]).toEqual(['one/one-3@onevmdump-test']);
      },
      {
        createMs: 100,
        meddle: (call) => (call.includes('create one/one-3-7-0') ? 'no quota' : ''),
      },
    ));

  test('the RBD images of a VM that are missing are told with all that was asked', () =>
    inScene(
      async ({ run, world }) => {
        await expect(snapshotDisks(planDumps(vm(three, ceph), new Map()), run)).rejects.toThrow(
          'cannot look at the RBD image one/one-3-7-0 (disk 0 of VM 7, CEPH_USER libvirt, CEPH_KEY /etc/ceph/key, CEPH_CONF /etc/ceph/c.conf): rbd: gone',
        );
        expect(world.undone()).toEqual([]);
      },
      { meddle: (call) => (call.startsWith('info') ? 'gone' : '') },
    ));

  test.each(['[]', '{}', '{"size":"1"}', '{"size":-1}', '{"size":0.5}', 'null', 'nonsense'])(
    'the RBD images of a VM of which rbd says %s are an error',
    (info) =>
      inScene(
        async ({ run }) => {
          const work = snapshotDisks(planDumps(vm([rbdDisk(0)], ceph), new Map()), run);
          await expect(work).rejects.toThrow('cannot look at the RBD image one/one-3-7-0');
        },
        { info },
      ),
  );

  test('the RBD images of a VM can be opened by another process: what was prepared is plain data', () =>
    inScene(async ({ run, cluster }) => {
      const [plan] = planDumps(vm([rbdDisk(0)], ceph), new Map());
      const prepared = await plan!.module.prepare([plan!.plan], run);
      const [snapshot] = await prepared.snapshot();
      const source = JSON.parse(JSON.stringify(snapshot!.source)) as unknown;
      expect(source).toEqual(snapshot!.source);
      const reader = await plan!.module.open({ ...snapshot!, source }, run);
      expect((await wholeDisk(reader)).equals(cluster.content)).toBe(true);
      await reader.close();
    }));
});

describe('the images of a running VM', () => {
  const two = [rbdDisk(0), rbdDisk(1, { clone: false })];
  const disks = {
    vd0: { rbd: 'one/one-3-7-0' },
    vd1: { rbd: 'one/one-3' },
  };

  test('the RBD images of a running VM get their snapshots while the guest is frozen, once', () =>
    inScene(
      async ({ run, cluster }) => {
        const plans = planDumps(vm(two, { ...ceph, ...running }), new Map());
        const { consistency } = await snapshotDisks(plans, run, byStorage);
        expect(consistency.level).toBe('agent');
        const acts = cluster.calls.filter((call) =>
          /create|guest-fsfreeze-(?:freeze|thaw)/.test(call),
        );
        expect(acts).toEqual([
          'guest-fsfreeze-freeze',
          'snap create one/one-3-7-0@onevmdump-test',
          'snap create one/one-3@onevmdump-test',
          'guest-fsfreeze-thaw',
        ]);
      },
      { disks },
    ));

  test.each([
    ['another image', { ...disks, vd1: { rbd: 'one/one-9' } }, 'but one/one-9 for libvirt'],
    ['a file', { ...disks, vd1: { file: '/a' } }, 'but /a for libvirt'],
    ['nothing', { vd0: disks.vd0 }, 'is unknown to libvirt'],
    ['what is being copied', { ...disks, vd1: { ...disks.vd1, busy: true } }, 'try again later'],
  ])(
    'the RBD images of a running VM are not dumped when libvirt has %s there',
    (_, others, message) =>
      inScene(
        async ({ run, cluster, world }) => {
          const plans = planDumps(vm(two, { ...ceph, ...running }), new Map());
          await expect(snapshotDisks(plans, run, byStorage)).rejects.toThrow(message);
          expect(cluster.calls.some((call) => /create|freeze/.test(call))).toBe(false);
          expect(world.undone()).toEqual([]);
        },
        { disks: others },
      ),
  );

  test('a running VM that has only a CD-ROM on Ceph need not be frozen', () =>
    inScene(
      async ({ run, cluster }) => {
        const cdrom = rbdDisk(0, { type: 'RBD_CDROM', clone: false });
        const plans = planDumps(vm([cdrom], { ...ceph, ...running }), new Map());
        await snapshotDisks(plans, run, byStorage);
        expect(cluster.calls.some((call) => /create|freeze|suspend/.test(call))).toBe(false);
      },
      { disks },
    ));
});

describe('an image that others have open', () => {
  const image = { image: 'one/one-3', access: {}, what: 'the RBD image one/one-3' };
  const limits = { pollMs: 10, limitMs: 60_000 };
  const [qemu, dead] = ['192.0.2.1:0/1', '192.0.2.2:0/9'];

  function logged(run: World['run']): { readonly run: World['run']; readonly lines: string[] } {
    const lines: string[] = [];
    const log = {
      ...run.log,
      info: (text: string) => void lines.push(`INFO ${text}`),
      warn: (text: string) => void lines.push(`WARNING ${text}`),
    };
    return { run: { ...run, log }, lines };
  }

  test.each([
    ['that is off', 0, watchers(dead), watchers()],
    ['that runs', 1, watchers(dead, qemu), watchers(qemu)],
    [
      'that runs, up to Ceph 13',
      1,
      watchers(dead, qemu),
      `{"watchers":{"watcher":{"address":"a"}}}`,
    ],
    ['that runs and was just shut down', 1, watchers(dead, qemu), watchers()],
  ])('an RBD image of a VM %s that others have open is waited for', (_, usual, before, after) =>
    inScene(
      async (scene) => {
        const { run, lines } = logged(scene.run);
        await awaitLostClients([image], usual, run, limits);
        expect(scene.cluster.calls).toEqual(Array(4).fill('status --format json one/one-3'));
        expect(lines).toEqual([
          expect.stringMatching(
            /^INFO the RBD image one\/one-3 is open in 1 more than the VM \(192.*\): waiting/,
          ),
        ]);
      },
      { status: (asked) => (asked < 4 ? before : after) },
    ),
  );

  test('an RBD image that others have open for long is dumped all the same, with a warning', () =>
    inScene(
      async (scene) => {
        const { run, lines } = logged(scene.run);
        await awaitLostClients([image], 0, run, { pollMs: 10, limitMs: 100 });
        expect(lines).toHaveLength(2);
        expect(lines[1]).toBe(
          'WARNING the RBD image one/one-3 is open in 2 more than the VM (192.0.2.2:0/9, 192.0.2.1:0/1): its snapshot may take long',
        );
      },
      { status: () => watchers(dead, qemu) },
    ));

  test('an RBD image that others have open is not waited for when the export is interrupted', () =>
    inScene(
      async (scene) => {
        const stop = new AbortController();
        setTimeout(() => stop.abort(new InterruptedError('SIGTERM')), 50);
        const run = { ...scene.run, signal: stop.signal };
        const work = awaitLostClients([image], 0, run, { pollMs: 60_000, limitMs: 60_000 });
        await expect(work).rejects.toThrow(InterruptedError);
      },
      { status: () => watchers(dead) },
    ));

  test('an RBD image that others have open is waited for before the guest is frozen', () =>
    inScene(
      async ({ run, cluster }) => {
        const plans = planDumps(vm([rbdDisk(0)], { ...ceph, ...running }), new Map());
        await snapshotDisks(plans, run, byStorage);
        const acts = cluster.calls.filter((call) => /^status|guest-fsfreeze-freeze/.test(call));
        expect(acts).toEqual([
          'status --format json one/one-3-7-0',
          'status --format json one/one-3-7-0',
          'guest-fsfreeze-freeze',
        ]);
      },
      {
        disks: { vd0: { rbd: 'one/one-3-7-0' } },
        status: (asked) => (asked === 1 ? watchers(dead, qemu) : watchers(qemu)),
      },
    ));

  test.each([
    '[]',
    '{}',
    'null',
    '{"watchers":3}',
    '{"watchers":[{}]}',
    '{"watchers":["a"]}',
    'no',
  ])('an RBD image of which rbd says %s is an error', (status) =>
    inScene(
      async ({ run }) => {
        const work = snapshotDisks(planDumps(vm([rbdDisk(0)], ceph), new Map()), run);
        await expect(work).rejects.toThrow('cannot see who has the RBD image one/one-3-7-0');
      },
      { status: () => status },
    ),
  );
});

describe('a mixed VM', () => {
  test('a VM with disks on Ceph and in files has each disk dumped by its own module', () =>
    inScene(async ({ run, cluster, world }) => {
      await rawFile(join(world.vmFolder, 'disk.1'), MiB, [[0, 4096]]);
      const volatile = disk(1, { type: 'FS', tmMad: 'shared', diskType: 'FILE' });
      const mixed = vm([rbdDisk(0, { diskType: 'RBD' }), volatile], shared);
      const { disks } = await snapshotDisks(planDumps(mixed, new Map()), run);
      expect(disks.map(({ id }) => id)).toEqual([0, 1]);
      expect(cluster.calls.filter((call) => call.startsWith('snap create'))).toHaveLength(1);
    }));

  test('a VM has an image that was copied from Ceph into a file exported as a file', () =>
    inScene(async ({ run, cluster, world }) => {
      await rawFile(join(world.vmFolder, 'disk.0'), MiB, [[0, 4096]]);
      // As oned notes it for a system datastore of TM ssh.
      const copied = rbdDisk(0, { type: 'FILE', diskType: 'FILE' });
      const ssh = vm([copied], { ...shared, tmMadSystem: 'ssh' });
      await snapshotDisks(planDumps(ssh, new Map()), run);
      expect(cluster.calls).toEqual([]);
    }));
});

describe('the undo of a snapshot', () => {
  const undo = {
    kind: 'remove-rbd-snapshot',
    image: 'one/one-3',
    snapshot: 'onevmdump-1',
    disk: 'disk 0 of VM 7',
    access: { user: 'libvirt', keyfile: "/etc/it's", conf: '/etc/c.conf' },
  } as const;
  const handlers = (cluster: FakeCeph) =>
    undoHandlers({
      log: quiet,
      answerMs: 0,
      connect: () => Promise.reject(new Error('OpenNebula is not needed')),
      runnerAt: () => cluster.runner,
    });

  test('the undo of an RBD snapshot removes it', () =>
    inScene(async ({ cluster }) => {
      cluster.snapshots.add('one/one-3@onevmdump-1').add('one/one-3@snap');
      await handlers(cluster).carryOut({ undo, on: undefined });
      expect([...cluster.snapshots]).toEqual(['one/one-3@snap']);
    }));

  test('the undo of an RBD snapshot succeeds when there is none', () =>
    inScene(({ cluster }) => handlers(cluster).carryOut({ undo, on: undefined })));

  test('the undo of an RBD snapshot removes one that comes a moment late', () =>
    inScene(async ({ cluster }) => {
      setTimeout(() => cluster.snapshots.add('one/one-3@onevmdump-1'), 300);
      await handlers(cluster).carryOut({ undo, on: undefined });
      expect([...cluster.snapshots]).toEqual([]);
    }));

  // QEMU makes it, for an rbd that was killed, and waits for the answers of all who have the image open.
  test('the undo of an RBD snapshot removes one that is made half a minute late, since who wanted it counts as a client until then', () => {
    let scene: Scene | undefined;
    let made = false;
    const status = (asked: number): string => {
      if (asked === 6) {
        scene?.cluster.snapshots.add('one/one-3@onevmdump-1');
        made = true;
      }
      return asked <= 6 ? watchers('192.0.2.1:0/1', '192.0.2.2:0/9') : watchers('192.0.2.1:0/1');
    };
    return inScene(
      async (one) => {
        scene = one;
        const limits = { pollMs: 10, limitMs: 60_000 };
        await undoSnapshot(one.cluster.runner, {}, 'one/one-3', 'onevmdump-1', 'it', limits);
        expect(made).toBe(true);
        expect([...one.cluster.snapshots]).toEqual([]);
      },
      { status },
    );
  });

  test('the undo of an RBD snapshot removes one that an rbd makes which still runs', () =>
    inScene(async ({ cluster, world }) => {
      const spec = `one/one-3@onevmdump-${process.pid}`;
      const script = join(world.outside, 'rbd');
      await writeFile(script, '#!/bin/sh\nsleep 4\n', { mode: 0o755 });
      const rbd = spawn(script, ['snap', 'create', spec]);
      await once(
        rbd.once('exit', () => cluster.snapshots.add(spec)),
        'spawn',
      );
      await handlers(cluster).carryOut({
        undo: { ...undo, snapshot: `onevmdump-${process.pid}` },
        on: undefined,
      });
      expect([...cluster.snapshots]).toEqual([]);
    }));

  test('the undo of an RBD snapshot is kept for later when that rbd does not end', () =>
    inScene(async ({ cluster, world }) => {
      const snapshot = `onevmdump-${process.pid}`;
      const script = join(world.outside, 'rbd');
      await writeFile(script, '#!/bin/sh\nexec 2>&- >&-\nread -r _\n', { mode: 0o755 });
      const rbd = spawn(script, ['snap', 'create', `one/one-3@${snapshot}`]);
      await once(rbd, 'spawn');
      const limits = { pollMs: 10, limitMs: 300 };
      await expect(
        undoSnapshot(cluster.runner, {}, 'one/one-3', snapshot, 'it', limits),
      ).rejects.toThrow('is still being made by rbd on this machine; run onevmdump cleanup again');
      rbd.kill();
      await once(rbd, 'exit');
    }));

  test('the undo of an RBD snapshot has nothing to wait for when others have the image open all the time', () =>
    inScene(
      async ({ cluster }) => {
        const limits = { pollMs: 10, limitMs: 300 };
        await undoSnapshot(cluster.runner, {}, 'one/one-3', 'onevmdump-1', 'it', limits);
      },
      { status: () => watchers('192.0.2.1:0/1', '192.0.2.2:0/9') },
    ));

  test('the undo of an RBD snapshot has nothing to do for an image that is gone', () =>
    inScene(async ({ cluster }) => {
      cluster.removeImages();
      await handlers(cluster).carryOut({ undo, on: undefined });
    }));

  test('the undo of an RBD snapshot never removes one of somebody else', () =>
    inScene(async ({ cluster }) => {
      cluster.snapshots.add('one/one-3@snap');
      const theirs = { ...undo, snapshot: 'snap' };
      await expect(handlers(cluster).carryOut({ undo: theirs, on: undefined })).rejects.toThrow(
        'one/one-3@snap was not made by onevmdump',
      );
      expect(cluster.calls).toEqual([]);
    }));

  test('the undo of an RBD snapshot that failed is reported with the command that does it', () => {
    expect(remedy({ undo, on: undefined }, factsOf(undo))).toBe(
      `the snapshot one/one-3@onevmdump-1 of disk 0 of VM 7 may be left; remove it with: rbd --id libvirt --keyfile '/etc/it'\\''s' --conf /etc/c.conf snap rm one/one-3@onevmdump-1`,
    );
  });
});

describe('RBD images in a backup job', () => {
  test.each([
    ['5.2.0', undefined],
    ['6.1.1', undefined],
    ['6.2.0', 'QEMU 6.2.0 may take data of RBD images for holes; 7.0 mended that'],
    ['7.2.22', undefined],
  ])(
    'RBD images of a running VM are known by name and size to a backup job of QEMU %s, and why it must not serve them (%s)',
    (qemu, unservable) =>
      inScene(
        async ({ run, world }) => {
          const [plan] = planDumps(vm([rbdDisk(0)], { ...ceph, ...running }), new Map());
          const found = await plan!.module.running([plan!.plan], run);
          expect(found).toMatchObject([
            { place: { rbd: 'one/one-3-7-0' }, virtualSize: MiB, layout: { format: 'raw' } },
          ]);
          expect(found[0]?.unservable).toBe(unservable);
          expect(world.undone()).toEqual([]);
        },
        { qemu },
      ),
  );
});
