// The settings of disks on LVM: the space for what a running guest overwrites while it is exported.
import { wholeNumber, type SettingTable } from '../../config/setting.ts';

export interface LvmSettings {
  /** Percent of a disk's size. */
  readonly percent: number;
  /** MiB. */
  readonly minMb: number;
}

export const lvmSettings: SettingTable<LvmSettings> = {
  percent: {
    key: 'LVM_SNAPSHOT_PERCENT',
    default: '20',
    description: [
      'Disks on LVM: space for what a running guest overwrites while it is exported, in percent of the size of',
      'each disk. It must be free in the volume group (or in the thin pool) for all disks of the VM together.',
      'An export that needs more than this space fails.',
    ],
    parse: (text) => wholeNumber(text, 1, 100),
  },
  minMb: {
    key: 'LVM_SNAPSHOT_MIN_MB',
    default: '1024',
    description: [
      'The least space for each disk, in MiB; but never more than the disk could need, which is about its own',
      'size.',
    ],
    parse: (text) => wholeNumber(text, 1, 100_000_000),
  },
};
