// The settings of backup jobs: the free space for what a running guest overwrites while its disks are read.
import { wholeNumber, type SettingTable } from '../../config/setting.ts';

export interface JobSettings {
  /** Percent of the disks' sizes. */
  readonly scratchPercent: number;
  /** MiB. */
  readonly scratchMinMb: number;
}

export const jobSettings: SettingTable<JobSettings> = {
  scratchPercent: {
    key: 'SCRATCH_PERCENT',
    default: '10',
    description: [
      'Running VMs: while the disks are read, QEMU keeps what the guest overwrites in scratch files in the',
      "VM's folder on the system datastore. A backup job begins only if this percentage of the disks' sizes is",
      'free there.',
    ],
    parse: (text) => wholeNumber(text, 0, 100),
  },
  scratchMinMb: {
    key: 'SCRATCH_MIN_MB',
    default: '1024',
    description: [
      'The least that must be free there, in MiB; but never more than the size of the disks.',
    ],
    parse: (text) => wholeNumber(text, 0, 100_000_000),
  },
};
