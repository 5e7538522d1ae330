// Disks that are RBD images of a Ceph cluster: TM ceph. What is run, and why, is documented in
// docs/storage-ceph.md.
import type { DiskFormat } from '../../bundle/format/manifest.ts';
import type { DiskReader } from '../../read/disk-reader.ts';
import { openRbdReader } from '../../read/rbd-reader.ts';
import { UnsupportedError } from '../../report/errors.ts';
import { ownPrefix } from '../../run/own-prefix.ts';
import type { Run } from '../../run/run.ts';
import { imageSize, snapshotNames, type CephAccess } from '../../tools/rbd.ts';
import { qemuVersion, type Domain } from '../../tools/virsh.ts';
import { clonedRbdImage, rbdSnapshot, volatileRbdImage } from './names.ts';
import { isReadOnly, isVolatile, type Disk, type Vm } from '../../vm/vm.ts';
import { awaitLostClients, createSnapshots, type RbdImage } from './snapshots.ts';
import { rbdSource, type CephSource } from './source.ts';
import { removeRbdSnapshot } from './undo.ts';
import { domainFacts, domainOf, isRunning } from '../../guest/domain.ts';
import { planRawDisk } from '../raw-disk.ts';
import { requireSameDisks } from '../running-disks.ts';
import {
  diskLabel,
  sourceOf,
  type DumpPlan,
  type Prepared,
  type RunningDisk,
  type Snapshot,
  type StorageModule,
} from '../storage.ts';

export const cephStorage: StorageModule = {
  // tm_mad/ceph/restore, OpenNebula 6.6 to 7.4.
  tmMads: { ceph: { movesDisks: false, unpacksTpm: true } },
  settings: {},
  undoKinds: [removeRbdSnapshot],
  hasSnapshots: true,

  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan {
    const plan = planRawDisk(vm, disk, format, 'an RBD image');
    rbdImageOf(plan);
    return plan;
  },

  async running(plans: readonly DumpPlan[], run: Run): Promise<readonly RunningDisk[]> {
    const [first] = plans;
    if (!first) return [];
    const unservable = await whyUnservable(domainOf(first.vm, run));
    const disks: RunningDisk[] = [];
    for (const plan of plans) {
      const { disk } = plan;
      // QEMU that was built with a librbd before 17 reports no holes of clones: block/rbd.c.
      const holesUnknown = disk.clone && !isVolatile(disk);
      disks.push({ ...runningDisk(await inspect(plan, run)), holesUnknown, unservable });
    }
    return disks;
  },

  async prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared> {
    const disks: RbdDisk[] = [];
    for (const plan of plans) disks.push(await inspect(plan, run));
    // Nobody writes to a CD-ROM, and many VMs may share it.
    const written = disks.filter(({ plan }) => !isReadOnly(plan.disk));
    const [first] = written;
    const running = first !== undefined && isRunning(first.plan.vm);
    if (running) {
      const facts = await domainFacts(first.plan.vm, domainOf(first.plan.vm, run));
      await requireSameDisks(written.map(runningDisk), facts, run);
    }
    await awaitLostClients(written, running ? 1 : 0, run);

    const { journal, runner } = run;
    const snapshot = rbdSnapshot(journal.runId);
    for (const { plan, image, access } of written) {
      const disk = diskLabel(plan);
      const undo = removeRbdSnapshot.undo({ image, snapshot, disk, access });
      await journal.record(undo, runner.target);
    }
    return {
      pointInTime: running ? (written.length === 1 ? 'together' : 'apart') : 'given',
      snapshot: async () => {
        await createSnapshots(written, snapshot, run);
        return disks.map((disk) => snapshotOf(disk, written.includes(disk) ? snapshot : undefined));
      },
    };
  },

  open(snapshot: Snapshot, { runner, signal }: Run): Promise<DiskReader> {
    const label = diskLabel(snapshot.plan);
    const source = sourceOf(rbdSource, snapshot);
    return Promise.resolve(openRbdReader(source, { runner, signal, label }));
  },
};

interface RbdDisk extends RbdImage {
  readonly plan: DumpPlan;
  readonly virtualSize: number;
}

/** Looks at the image. A wrong name, pool, user or key is reported here, before the guest is frozen or paused. */
async function inspect(plan: DumpPlan, { runner, log }: Run): Promise<RbdDisk> {
  const { image, access } = rbdImageOf(plan);
  const what = `the RBD image ${image} (${diskLabel(plan)}${inWords(access)})`;
  const virtualSize = await imageSize(runner, access, image, what);
  for (const name of await snapshotNames(runner, access, image, what)) {
    if (!name.startsWith(ownPrefix)) continue;
    log.warn(
      `${what} has the snapshot ${name} of another export: it was killed and could not be cleaned up after, or it still runs`,
    );
  }
  return { plan, image, access, what, virtualSize };
}

function snapshotOf(
  { plan, image, access, virtualSize }: RbdDisk,
  snapshot?: string,
): Snapshot<CephSource> {
  const source = { image, access, virtualSize };
  return {
    plan,
    layout: { format: 'raw' },
    virtualSize,
    source: snapshot === undefined ? source : { ...source, snapshot },
  };
}

/**
 * QEMU 6.2 was the first to report the holes of RBD images, and could report data as holes; 7.0 mended that ("block/rbd:
 * fix handling of holes in .bdrv_co_block_status", "block/rbd: workaround for ceph issue #53784").
 */
async function whyUnservable(domain: Domain): Promise<string | undefined> {
  const version = await qemuVersion(domain);
  if (version === undefined || !/^6\.2(?:\.|$)/.test(version)) return undefined;
  return `QEMU ${version} may take data of RBD images for holes; 7.0 mended that`;
}

function runningDisk({ plan, image, virtualSize }: RbdDisk): RunningDisk {
  return { plan, place: { rbd: image }, virtualSize, layout: { format: 'raw' } };
}

/**
 * Returns the image, by the name that OpenNebula's drivers give it (tm/ceph/clone, ln, mkimage; the same from 6.4 to
 * 7.4). A disk that was reverted to one of its snapshots keeps this name: the image that it had before gets another
 * name.
 * @throws UnsupportedError when it has no name, or one that rbd would read as something else.
 */
function rbdImageOf({ vm, disk }: DumpPlan): Pick<RbdImage, 'image' | 'access'> {
  const what = `disk ${disk.id} of VM ${vm.id}`;
  const image = rbdName(vm, disk);
  if (image === undefined)
    throw new UnsupportedError(`${what} has no SOURCE: its image is unknown`);
  // <pool>/<image>, or <pool>/<namespace>/<image>; what follows an @ would be a snapshot.
  if (!/^[^\s/@-][^\s/@]*(?:\/[^\s/@]+){1,2}$/.test(image) || hasControl(image)) {
    throw new UnsupportedError(`${what}: ${JSON.stringify(image)} is not the name of an RBD image`);
  }
  const { cephUser, cephKey, cephConf } = disk;
  if (cephUser !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(cephUser)) {
    throw new UnsupportedError(`${what}: CEPH_USER is not the name of a Ceph user`);
  }
  for (const [name, path] of Object.entries({ CEPH_KEY: cephKey, CEPH_CONF: cephConf })) {
    // The value is not shown, because somebody may have written the key itself there.
    if (path !== undefined && (!path.startsWith('/') || hasControl(path))) {
      throw new UnsupportedError(`${what}: ${name} is not the absolute path of a file`);
    }
  }
  return {
    image,
    access: {
      ...(cephUser === undefined ? {} : { user: cephUser }),
      ...(cephKey === undefined ? {} : { keyfile: cephKey }),
      ...(cephConf === undefined ? {} : { conf: cephConf }),
    },
  };
}

function rbdName(vm: Vm, disk: Disk): string | undefined {
  if (isVolatile(disk)) return volatileRbdImage(disk.poolName, vm.id, disk.id);
  if (disk.source === undefined) return undefined;
  return disk.clone ? clonedRbdImage(disk.source, vm.id, disk.id) : disk.source;
}

function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

function inWords({ user, keyfile, conf }: CephAccess): string {
  const facts = { CEPH_USER: user, CEPH_KEY: keyfile, CEPH_CONF: conf };
  return Object.entries(facts)
    .map(([name, value]) => (value === undefined ? '' : `, ${name} ${value}`))
    .join('');
}
