// Computes the room for what a guest overwrites while its disks are read, and checks that the volume group or the
// thin pool has it. A thin snapshot itself needs no room, but a guest whose thin pool is full gets I/O errors, so the
// pool must also have the room.
import { FailedError } from '../../report/errors.ts';
import { formatBytes } from '../../report/format.ts';
import { snapshotChunk, type Volume, type VolumeGroup } from '../../tools/lvm.ts';
import type { LvmSettings } from './settings.ts';

const MiB = 1024 * 1024;
/** A pool whose metadata is full stops all its volumes; dm-thin warns from 75 % on. */
const metadataLimitPercent = 95;

/**
 * Returns the size of a thick snapshot of this volume, in bytes: as requested, but never more than it can need. It
 * can need the whole volume and, for each chunk, 16 bytes that say where the chunk is (Linux, dm-snap-persistent.c).
 */
export function snapshotBytes(volumeBytes: number, { percent, minMb }: LvmSettings): number {
  const chunks = Math.ceil(volumeBytes / snapshotChunk);
  const areas = Math.ceil((chunks + 1) / (snapshotChunk / 16));
  const most = (chunks + areas + 1) * snapshotChunk;
  return Math.min(most, Math.max(Math.ceil((volumeBytes * percent) / 100), minMb * MiB));
}

/** The same, in extents of its volume group. */
export function snapshotExtents(volume: Volume, group: VolumeGroup, wish: LvmSettings): number {
  return Math.ceil(snapshotBytes(volume.bytes, wish) / group.extentBytes);
}

/** Checks that there is enough room for the snapshots of these volumes. @throws FailedError with numbers */
export function requireRoom(
  volumes: readonly Volume[],
  group: VolumeGroup,
  wish: LvmSettings,
): void {
  const thick = volumes.filter(({ thin }) => !thin);
  const extents = thick.reduce((sum, one) => sum + snapshotExtents(one, group, wish), 0);
  const needed = extents * group.extentBytes;
  if (needed > group.freeBytes) {
    throw new FailedError(
      `the volume group ${group.name} has ${formatBytes(group.freeBytes)} free, but the snapshots of ${counted(thick)} need ${formatBytes(needed)}; see ${roomInWords(wish)}`,
      {
        code: 'no-space',
        facts: { volumeGroup: group.name, freeBytes: group.freeBytes, neededBytes: needed },
      },
    );
  }
  for (const pool of new Set(volumes.flatMap((one) => (one.thin ? [one.pool ?? ''] : [])))) {
    const thin = volumes.filter((one) => one.thin && one.pool === pool);
    requireRoomInPool(thin, group.volumes.get(pool), group.name, wish);
  }
}

function requireRoomInPool(
  volumes: readonly Volume[],
  pool: Volume | undefined,
  group: string,
  wish: LvmSettings,
): void {
  const [first] = volumes;
  if (!first) return;
  const what = `the thin pool ${group}/${first.pool ?? ''}`;
  const { bytes, dataPercent, metadataPercent } = pool ?? {};
  if (bytes === undefined || dataPercent === undefined || metadataPercent === undefined) {
    throw new FailedError(`cannot find out how full ${what} is`);
  }
  if (pool?.health) throw new FailedError(`${what} is not healthy: ${pool.health}`);
  if (metadataPercent >= metadataLimitPercent) {
    throw new FailedError(
      `the metadata of ${what} are full to ${metadataPercent} %; a snapshot could stop the guest. Extend them with: lvextend --poolmetadatasize +<size> ${group}/${first.pool ?? ''}`,
    );
  }
  // Only mapped parts can be overwritten. The other parts need new room with or without a snapshot.
  const needed = volumes.reduce((sum, one) => {
    const mapped = Math.ceil((one.bytes * (one.dataPercent ?? 100)) / 100);
    return sum + Math.min(mapped, snapshotBytes(one.bytes, wish));
  }, 0);
  const free = Math.floor((bytes * (100 - dataPercent)) / 100);
  if (needed > free) {
    throw new FailedError(
      `${what} has ${formatBytes(free)} free, but the guest may overwrite ${formatBytes(needed)} of ${counted(volumes)} during an export, and a full pool would stop it; see ${roomInWords(wish)}. Or extend it with: lvextend -L +<size> ${group}/${first.pool ?? ''}`,
      {
        code: 'no-space',
        facts: { thinPool: `${group}/${first.pool ?? ''}`, freeBytes: free, neededBytes: needed },
      },
    );
  }
}

/** For messages: the settings that decide the room, with their values. */
export function roomInWords({ percent, minMb }: LvmSettings): string {
  return `LVM_SNAPSHOT_PERCENT (now ${percent}) and LVM_SNAPSHOT_MIN_MB (now ${minMb})`;
}

function counted(volumes: readonly Volume[]): string {
  return volumes.length === 1 ? 'one disk' : `${volumes.length} disks`;
}
