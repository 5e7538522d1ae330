// Parses a VM's XML: as oned answers one.vm.info, as a hook gets it (HISTORY_RECORDS, no LOCK when not locked), and as a
// driver action gets it (only the last HISTORY). Formats: the VM XML schema of OpenNebula (share/doc/xsd/vm.xsd) and recorded
// documents of 6.10. Every number is validated; all other values are kept as text.
import { UsageError } from '../report/errors.ts';
import type { Disk, History, Vm, VmLock } from './vm.ts';
import { child, childrenOf, childText, type XmlElement } from '../xml/xml.ts';
import { parseXml } from '../xml/xml-parse.ts';

/**
 * Reads a document whose root is `<VM>`.
 * @param bytes plain XML, UTF-8; kept as `xmlBytes`
 * @throws UsageError that names the field that is missing or not valid
 */
export function parseVm(bytes: Buffer): Vm {
  const root = parseXml(bytes, "the VM's XML");
  if (root.name !== 'VM') {
    throw new UsageError(`this is not a VM's XML: its root element is <${root.name}>, not <VM>`);
  }
  return vmFromElement(root, bytes);
}

/**
 * The VM of a `<VM>` element, which may be part of a larger document.
 * @param xmlBytes the document of the VM alone
 * @throws UsageError that names the field that is missing or not valid
 */
export function vmFromElement(vm: XmlElement, xmlBytes: Buffer): Vm {
  const id = number(vm, 'ID', "the VM's XML");
  const what = `the XML of VM ${id}`;
  const template = required(vm, 'TEMPLATE', what);
  return {
    id,
    name: required(vm, 'NAME', what).text,
    uid: optionalNumber(vm, 'UID', what),
    gid: optionalNumber(vm, 'GID', what),
    uname: optionalText(vm, 'UNAME'),
    gname: optionalText(vm, 'GNAME'),
    state: number(vm, 'STATE', what),
    lcmState: number(vm, 'LCM_STATE', what),
    previous: previousState(vm),
    uuid: uuidOf(template),
    stime: timeOf(vm),
    deployId: optionalText(vm, 'DEPLOY_ID'),
    lock: lockOf(vm, id),
    disks: disks(template, id),
    tmMadSystem: optionalText(template, 'TM_MAD_SYSTEM'),
    history: lastHistory(vm, id),
    schedActions: scheduledActions(vm),
    backupConfig: backupConfig(vm),
    template,
    userTemplate: child(vm, 'USER_TEMPLATE') ?? { name: 'USER_TEMPLATE', text: '', children: [] },
    xmlBytes,
  };
}

/** Undefined when it is missing, as in the XML of some drivers, or not valid: no VM is refused because of it. */
function previousState(vm: XmlElement): Vm['previous'] {
  const [state = '', lcmState = ''] = ['PREV_STATE', 'PREV_LCM_STATE'].map((name) =>
    childText(vm, name),
  );
  const known = [state, lcmState].every((text) => /^\d{1,9}$/.test(text));
  return known ? { state: Number(state), lcmState: Number(lcmState) } : undefined;
}

/** Undefined when it is not valid, because a VM's owner can write any text there. */
function uuidOf(template: XmlElement): string | undefined {
  const os = child(template, 'OS');
  const text = os && optionalText(os, 'UUID');
  return text !== undefined && /^[0-9A-Fa-f-]{1,64}$/.test(text) ? text : undefined;
}

/** Undefined when it is not valid: no VM is refused because of it. */
function timeOf(vm: XmlElement): number | undefined {
  const text = childText(vm, 'STIME') ?? '';
  return /^[1-9]\d{0,11}$/.test(text) ? Number(text) : undefined;
}

/** oned writes no LOCK for a VM that is not locked; LOCKED = 0 would mean the same. */
function lockOf(vm: XmlElement, vmId: number): VmLock | undefined {
  const lock = child(vm, 'LOCK');
  const level = lock ? number(lock, 'LOCKED', `the LOCK of VM ${vmId}`) : 0;
  if (!lock || level === 0) return undefined;
  // -1: the field is missing.
  const field = (name: string): number => {
    const text = childText(lock, name) ?? '';
    return /^\d{1,15}$/.test(text) ? Number(text) : -1;
  };
  return { level, owner: field('OWNER'), time: field('TIME'), requestId: field('REQ_ID') };
}

function disks(template: XmlElement, vmId: number): readonly Disk[] {
  const found = childrenOf(template, 'DISK').map((xml) => disk(xml, vmId));
  const ids = new Set<number>();
  for (const { id } of found) {
    if (ids.has(id)) throw new UsageError(`the XML of VM ${vmId} has two disks with DISK_ID ${id}`);
    ids.add(id);
  }
  return found.sort((first, second) => first.id - second.id);
}

function disk(xml: XmlElement, vmId: number): Disk {
  const id = number(xml, 'DISK_ID', `a DISK of VM ${vmId}`);
  const what = `DISK ${id} of VM ${vmId}`;
  return {
    id,
    type: required(xml, 'TYPE', what).text.toUpperCase(),
    format: optionalText(xml, 'FORMAT'),
    driver: optionalText(xml, 'DRIVER'),
    tmMad: optionalText(xml, 'TM_MAD'),
    source: optionalText(xml, 'SOURCE'),
    imageId: optionalNumber(xml, 'IMAGE_ID', what),
    image: optionalText(xml, 'IMAGE'),
    imageUname: optionalText(xml, 'IMAGE_UNAME'),
    datastoreId: optionalNumber(xml, 'DATASTORE_ID', what),
    sizeMb: optionalNumber(xml, 'SIZE', what),
    originalSizeMb: optionalNumber(xml, 'ORIGINAL_SIZE', what),
    target: optionalText(xml, 'TARGET'),
    devPrefix: optionalText(xml, 'DEV_PREFIX'),
    persistent: isYes(xml, 'PERSISTENT'),
    readonly: isYes(xml, 'READONLY'),
    clone: isYes(xml, 'CLONE'),
    shareable: isYes(xml, 'SHAREABLE'),
    diskType: optionalText(xml, 'DISK_TYPE')?.toUpperCase(),
    cephUser: optionalText(xml, 'CEPH_USER'),
    cephKey: optionalText(xml, 'CEPH_KEY'),
    cephConf: optionalText(xml, 'CEPH_CONF'),
    poolName: optionalText(xml, 'POOL_NAME'),
    xml,
  };
}

/** ACTION of a record that monitoring has ended: MONITOR_ACTION in include/VMActions.h of OpenNebula 6.4 to 7.4. */
const monitorAction = '44';

function lastHistory(vm: XmlElement, vmId: number): History | undefined {
  const records = child(vm, 'HISTORY_RECORDS');
  const what = `a HISTORY record of VM ${vmId}`;
  const all = records ? childrenOf(records, 'HISTORY') : [];
  let last: History | undefined;
  for (const record of all) {
    const seq = number(record, 'SEQ', what);
    if (last && last.seq > seq) continue;
    const hostname = required(record, 'HOSTNAME', what).text;
    const endedByMonitoring = (one: XmlElement): boolean =>
      childText(one, 'SEQ') === String(seq - 1) &&
      childText(one, 'HOSTNAME') === hostname &&
      childText(one, 'ACTION') === monitorAction;
    last = {
      seq,
      stime: optionalNumber(record, 'STIME', what),
      hostname,
      vmMad: optionalText(record, 'VM_MAD'),
      tmMad: required(record, 'TM_MAD', what).text,
      datastoreId: number(record, 'DS_ID', what),
      foundAgain: all.some(endedByMonitoring),
    };
  }
  return last;
}

/** In most releases SCHED_ACTIONS has only ids, and the actions themselves are in TEMPLATE. */
function scheduledActions(vm: XmlElement): readonly XmlElement[] {
  const list = child(vm, 'SCHED_ACTIONS');
  return [...childrenOf(vm, 'SCHED_ACTION'), ...(list ? childrenOf(list, 'SCHED_ACTION') : [])];
}

function backupConfig(vm: XmlElement): XmlElement | undefined {
  const backups = child(vm, 'BACKUPS');
  return backups && child(backups, 'BACKUP_CONFIG');
}

/** A field that must be there exactly once: of two STATEs, different readers could use different ones. */
function required(parent: XmlElement, name: string, what: string): XmlElement {
  const [found, ...more] = childrenOf(parent, name);
  if (!found) throw new UsageError(`${what} has no ${name}`);
  if (more.length > 0) throw new UsageError(`${what} has more than one ${name}`);
  return found;
}

function number(parent: XmlElement, name: string, what: string): number {
  return asNumber(required(parent, name, what).text, name, what);
}

/** oned writes a field without a value as an empty element. */
function optionalNumber(parent: XmlElement, name: string, what: string): number | undefined {
  const text = optionalText(parent, name);
  return text === undefined ? undefined : asNumber(text, name, what);
}

function optionalText(parent: XmlElement, name: string): string | undefined {
  const text = childText(parent, name);
  return text === '' ? undefined : text;
}

function isYes(parent: XmlElement, name: string): boolean {
  return childText(parent, name)?.toUpperCase() === 'YES';
}

function asNumber(text: string, name: string, what: string): number {
  if (!/^\d{1,15}$/.test(text)) {
    throw new UsageError(
      `${what}: ${name} is ${JSON.stringify(text.slice(0, 40))}, expected a whole number of at least 0`,
    );
  }
  return Number(text);
}
