// The settings of disks on LVM: the space for what a running guest overwrites while it is exported, and whether other
// machines see the volume groups.
import { wholeNumber, yesOrNo, type SettingTable } from '../../config/setting.ts';

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

export interface GroupSettings {
  /** Whether other machines may see the volume groups. */
  readonly shared: boolean;
}

export const groupSettings: SettingTable<GroupSettings> = {
  shared: {
    key: 'LVM_SHARED',
    default: 'yes',
    description: [
      'yes: other machines may see the volume groups, as on a SAN. A volume group must not be changed by two',
      "machines at once, so exports change one only when they run on OpenNebula's front-end, where they take",
      "the locks of OpenNebula's drivers. no: each group is seen by one machine only (local disks), or LVM",
      'itself locks it (lvmlockd). Then exports may change groups from any machine.',
    ],
    parse: yesOrNo,
  },
};
