// What oned asks of `backup`, and of the TM actions around it: arguments, the datastore and the VM, checked.
import { basename, posix } from 'node:path';
import { parseVm } from '../vm/vm-xml.ts';
import { parseXml } from '../xml/xml-parse.ts';
import { child, childText, type XmlElement } from '../xml/xml.ts';
import { UnsupportedError, UsageError } from '../report/errors.ts';
import type { Vm } from '../vm/vm.ts';
import { asId, parseActionData } from '../datastore/action-data.ts';

/** What the arguments of `backup`, `prebackup` and `postbackup` say. */
export interface BackupArguments {
  /** The host the VM is on, or was last, as OpenNebula names it. */
  readonly host: string;
  /** The VM's folder on that host. */
  readonly folder: string;
  readonly vmId: number;
  /** DISK_IDs of what is to be in the backup. */
  readonly diskIds: readonly number[];
}

export interface BackupRequest extends BackupArguments {
  /** The data with the DATASTORE. */
  readonly data: XmlElement;
  /** Undefined with OpenNebula 6.6, which says nothing of the VM; `prebackup` left its XML then. */
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
  const [place = '', disks = ''] = args;
  const vmId = asId(args.at(-2) ?? '', 'the id of the VM');
  const { host, folder } = parsePlace(place);
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
  const vm = child(data, 'VM') && parseVm(vmBytes(stdin));
  if (vm) requireVm(vm, known.vmId);
  return { ...known, data, vm };
}

/** @throws UsageError when it is the XML of another VM */
export function requireVm(vm: Vm, vmId: number): void {
  if (vm.id !== vmId) throw new UsageError(`the XML is of VM ${vm.id}, not of VM ${vmId}`);
}

/** `host:folder`, the first argument of many actions. @throws UsageError */
export function parsePlace(place: string): { readonly host: string; readonly folder: string } {
  const [, host = '', path = ''] = /^([A-Za-z0-9_.-]+):(\/[^\0\n]*)$/.exec(place) ?? [];
  if (host === '' || host.startsWith('-')) {
    throw new UsageError(`${JSON.stringify(place)} is not of the form host:folder`);
  }
  return { host, folder: posix.normalize(path).replace(/(?<=.)\/$/, '') };
}

/** @throws UnsupportedError for a backup that is to continue an earlier one */
export function refuseIncrements(vm: Vm): void {
  const mode = vm.backupConfig && childText(vm.backupConfig, 'MODE');
  if (mode?.toUpperCase() !== 'INCREMENT') return;
  throw new UnsupportedError(
    `VM ${vm.id} is set to incremental backups, which onevmdump datastores do not take; set its backup mode to FULL`,
  );
}

/** The VM's document, byte for byte as it stands in the larger one. */
function vmBytes(document: Buffer): Buffer {
  const end = document.lastIndexOf('</VM>') + '</VM>'.length;
  const wanted = child(parseActionData(document), 'VM');
  // `<VM>` may stand in the text of an attribute, too: what counts is what comes out.
  for (
    let from = document.indexOf('<VM>');
    from !== -1;
    from = document.indexOf('<VM>', from + 1)
  ) {
    const bytes = document.subarray(from, end);
    if (JSON.stringify(parsed(bytes)) === JSON.stringify(wanted)) return Buffer.from(bytes);
  }
  throw new UsageError("cannot find the VM's XML in the data of the action");
}

function parsed(bytes: Buffer): XmlElement | undefined {
  try {
    return parseXml(bytes, "the VM's XML");
  } catch {
    return undefined;
  }
}
