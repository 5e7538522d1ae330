// The names of files in the VM's folder. DO NOT CHANGE: OpenNebula itself finds them by these names.
import { posix } from 'node:path';

/** A disk file in the VM's folder (a link for TM qcow2 and for persistent images). */
export function diskFile(folder: string, diskId: number): string {
  return posix.join(folder, `disk.${diskId}`);
}
