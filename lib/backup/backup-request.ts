// The request that oned makes of `backup` and of the TM actions around it: arguments, datastore and VM, validated.
import { basename, posix } from 'node:path';
import { parseVm } from '../vm/vm-xml.ts';
import { childBytes } from '../xml/child-bytes.ts';
import { child, childText, type XmlElement } from '../xml/xml.ts';
import { UnsupportedError, UsageError } from '../report/errors.ts';
import type { Vm } from '../vm/vm.ts';
import { asId, parseActionData } from '../datastore/action-data.ts';

/** The arguments of `backup`, `prebackup` and `postbackup`. */
export interface BackupArguments {
  /** OpenNebula's name of the host that the VM is on, or was on last. */
  readonly host: string;
  /** The VM's folder on that host. */
  readonly folder: string;
  readonly vmId: number;
  /** DISK_IDs of the disks to back up. */
  readonly diskIds: readonly number[];
}

export interface BackupRequest extends BackupArguments {
  /** The data with the DATASTORE. */
  readonly data: XmlElement;
  /** Undefined with OpenNebula 6.6, which does not pass the VM; its XML is then in the file that `prebackup` left. */
  readonly vm: Vm | undefined;
}

/**
 * `host:dir disk:disk:... deploy_id [job_id] vm_id datastore_id`; the job id came with 6.8.
 * @throws UsageError
 */
export function parseBackupArguments(args: readonly string[]): BackupArguments {
  if (args.length !== 5 && args.length !== 6) {
    throw new UsageError(
      `expected host:folder disks deploy_id job_id vm_id datastore_id, but got ${args.length} arguments; this program is started by OpenNebula`,
    );
  }
  const [hostFolder = '', disks = ''] = args;
  const vmId = asId(args.at(-2) ?? '', 'the id of the VM');
  const { host, folder } = parseHostFolder(hostFolder);
  if (basename(folder) !== String(vmId)) {
    throw new UsageError(`${folder} is not the folder of VM ${vmId}`);
  }
  const diskIds = disks
    .split(':')
    .filter(Boolean)
    .map((id) => asId(id, 'the id of a disk'));
  if (diskIds.length === 0) throw new UnsupportedError(`VM ${vmId} has no disks to back up`);
  return { host, folder, vmId, diskIds: [...new Set(diskIds)] };
}

/**
 * The arguments, and on stdin `<DS_DRIVER_ACTION_DATA>` with DATASTORE and VM, or the DATASTORE alone (6.6).
 * @throws UsageError
 */
export function parseBackupRequest(args: readonly string[], stdin: Buffer): BackupRequest {
  const known = parseBackupArguments(args);
  const data = parseActionData(stdin);
  const vm = child(data, 'VM') && parseVm(childBytes(stdin, 'VM', 'the data of the action'));
  if (vm) requireVm(vm, known.vmId);
  return { ...known, data, vm };
}

/** Checks that the XML is that of the VM with this id. @throws UsageError */
export function requireVm(vm: Vm, vmId: number): void {
  if (vm.id !== vmId) throw new UsageError(`the XML is of VM ${vm.id}, not of VM ${vmId}`);
}

/** Reads `host:folder`, the first argument of many actions. @throws UsageError */
export function parseHostFolder(text: string): { readonly host: string; readonly folder: string } {
  const [, host = '', path = ''] = /^([A-Za-z0-9_.-]+):(\/[^\0\n]*)$/.exec(text) ?? [];
  if (host === '' || host.startsWith('-')) {
    throw new UsageError(`${JSON.stringify(text)} is not of the form host:folder`);
  }
  return { host, folder: posix.normalize(path).replace(/(?<=.)\/$/, '') };
}

/** @throws UnsupportedError for an incremental backup */
export function refuseIncrements(vm: Vm): void {
  const mode = vm.backupConfig && childText(vm.backupConfig, 'MODE');
  if (mode?.toUpperCase() !== 'INCREMENT') return;
  throw new UnsupportedError(
    `VM ${vm.id} is set to incremental backups, which onevmdump datastores do not support; set its backup mode to FULL`,
  );
}
