// A VM from its XML, as one.vm.info, a hook or a driver action shows it, with or without line breaks.
import { Template, cdata, templateFromElement } from './template.ts';
import type { Owned } from './users.ts';
import { noBackups } from './vm.ts';
import type { History, Vm } from './vm.ts';
import { elements, parseXml, textOf } from './xml-tree.ts';
import type { Element } from './xml-tree.ts';

function child(element: Element, name: string): Element | undefined {
  return elements(element).find((one) => one.name === name);
}

function text(element: Element, name: string, otherwise = ''): string {
  const found = child(element, name);
  return found ? textOf(found) : otherwise;
}

function number(element: Element, name: string, otherwise: number): number {
  const found = child(element, name);
  return found ? Number(textOf(found)) : otherwise;
}

/** The element without line breaks between elements, empty elements as oned's own code writes them. */
function compact(element: Element): string {
  const inner = elements(element);
  if (inner.length > 0) return `<${element.name}>${inner.map(compact).join('')}</${element.name}>`;
  const value = textOf(element).trim() === '' ? '' : textOf(element);
  const kept = element.children.some((one) => one.kind === 'cdata') ? cdata(value) : value;
  if (kept === '' && element.name === 'BACKUP_CONFIG') return '<BACKUP_CONFIG/>';
  return `<${element.name}>${kept}</${element.name}>`;
}

function permissions(root: Element): string {
  const bits = child(root, 'PERMISSIONS');
  return bits ? elements(bits).map(textOf).join('') : '110000000';
}

function history(element: Element): History {
  const time = (name: string): number => number(element, name, 0);
  return {
    hostname: text(element, 'HOSTNAME'),
    hostId: number(element, 'HID', 0),
    tmMad: text(element, 'TM_MAD'),
    vmMad: text(element, 'VM_MAD', 'kvm'),
    datastoreId: number(element, 'DS_ID', 0),
    stime: time('STIME'),
    etime: time('ETIME'),
    pstime: time('PSTIME'),
    petime: time('PETIME'),
    rstime: time('RSTIME'),
    retime: time('RETIME'),
    estime: time('ESTIME'),
    eetime: time('EETIME'),
    action: time('ACTION'),
    uid: number(element, 'UID', -1),
    gid: number(element, 'GID', -1),
    requestId: number(element, 'REQUEST_ID', -1),
  };
}

function lock(root: Element): Owned['lock'] {
  const found = child(root, 'LOCK');
  if (!found) return undefined;
  return {
    level: number(found, 'LOCKED', 1),
    owner: number(found, 'OWNER', 0),
    time: number(found, 'TIME', 0),
    requestId: number(found, 'REQ_ID', 0),
  };
}

/** @throws XmlError for something that is no XML, Error when it is not a VM with an id. */
export function vmFromXml(xml: string): Vm {
  const root = parseXml(xml);
  const id = Number(text(root, 'ID', 'none'));
  if (root.name !== 'VM' || !Number.isInteger(id)) throw new Error('this is not the XML of a VM');
  const template = child(root, 'TEMPLATE');
  const userTemplate = child(root, 'USER_TEMPLATE');
  const records = child(root, 'HISTORY_RECORDS');
  const part = (name: string, otherwise: string): string => {
    const found = elements(root).filter((one) => one.name === name);
    return found.map(compact).join('') || otherwise;
  };
  return {
    id,
    uid: number(root, 'UID', 0),
    gid: number(root, 'GID', 0),
    uname: text(root, 'UNAME', 'oneadmin'),
    gname: text(root, 'GNAME', 'oneadmin'),
    name: text(root, 'NAME'),
    permissions: permissions(root),
    lock: lock(root),
    state: number(root, 'STATE', 8),
    lcmState: number(root, 'LCM_STATE', 0),
    prevState: number(root, 'PREV_STATE', number(root, 'STATE', 8)),
    prevLcmState: number(root, 'PREV_LCM_STATE', number(root, 'LCM_STATE', 0)),
    stime: number(root, 'STIME', 0),
    etime: number(root, 'ETIME', 0),
    lastPoll: number(root, 'LAST_POLL', 0),
    deployId: text(root, 'DEPLOY_ID'),
    monitoring:
      part('MONITORING', '<MONITORING></MONITORING>') +
      part('SCHED_ACTIONS', '<SCHED_ACTIONS></SCHED_ACTIONS>'),
    template: template ? templateFromElement(template) : new Template(),
    userTemplate: userTemplate ? templateFromElement(userTemplate) : new Template(),
    history: records ? elements(records).map(history) : [],
    snapshotsXml: part('SNAPSHOTS', ''),
    backupsXml: part('BACKUPS', noBackups),
  };
}
