// The settings of disks that are files.
import { absolutePath, type SettingTable } from '../../config/setting.ts';

export interface FileSettings {
  readonly allowedBackingDirs: readonly string[];
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
};
