// Who fixes the point in time of a running VM's disks.
import { oneOfWords } from './setting.ts';

const ways = ['auto', 'qemu', 'storage'] as const;

/**
 * `qemu`: QEMU, by one backup job for all disks. `storage`: the storages, by their own snapshots; QEMU for disks on a
 * storage that has none. `auto`: QEMU if it can, else the storages.
 */
export type SnapshotWay = (typeof ways)[number];

/** @throws UsageError when `text` is not a way. */
export function parseSnapshotWay(text: string): SnapshotWay {
  return oneOfWords(text, ways);
}
