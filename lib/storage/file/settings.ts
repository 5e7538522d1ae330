// The settings of disks that are files.
import { absolutePath, wholeNumber, type SettingTable } from '../../config/setting.ts';

export interface FileSettings {
  readonly allowedBackingDirs: readonly string[];
  /** Percent of the disks' sizes. */
  readonly scratchPercent: number;
  /** MiB. */
  readonly scratchMinMb: number;
}

export const fileSettings: SettingTable<FileSettings> = {
  allowedBackingDirs: {
    key: 'ALLOWED_BACKING_DIRS',
    default: '',
    description: [
      'Folders, separated by colons, in which backing files of qcow2 disks may lie, besides',
      'DATASTORE_LOCATION, which is always allowed.',
    ],
    parse: (text) => (text === '' ? [] : text.split(':').map(absolutePath)),
  },
  scratchPercent: {
    key: 'SCRATCH_PERCENT',
    default: '10',
    description: [
      'Running VMs whose disks are files: while the disks are read, QEMU keeps what the guest overwrites',
      "in scratch files in the VM's folder. An export begins only if this percentage of the disks' sizes",
      'is free there.',
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
