// A VM as oned keeps it, and its XML: the elements come in VirtualMachine::to_xml_extended's order.
import { noSuch } from './failure.ts';
import { cdata } from './template.ts';
import type { Template } from './template.ts';
import { identityXml, lockXml, permissionsXml } from './users.ts';
import type { Owned } from './users.ts';
import type { World } from './world.ts';

/** One HISTORY record; times in seconds since the epoch, 0 for not yet. */
export interface History {
  hostname: string;
  hostId: number;
  tmMad: string;
  vmMad: string;
  datastoreId: number;
  stime: number;
  etime: number;
  pstime: number;
  petime: number;
  rstime: number;
  retime: number;
  estime: number;
  eetime: number;
  action: number;
  uid: number;
  gid: number;
  requestId: number;
}

export interface Vm extends Owned {
  state: number;
  lcmState: number;
  prevState: number;
  prevLcmState: number;
  readonly stime: number;
  etime: number;
  lastPoll: number;
  deployId: string;
  /** What stands inside MONITORING and SCHED_ACTIONS. */
  monitoring: string;
  template: Template;
  userTemplate: Template;
  history: History[];
  /** SNAPSHOTS elements, and BACKUPS. */
  snapshotsXml: string;
  backupsXml: string;
}

/** STATE and LCM_STATE of a VM (VirtualMachine.h). */
export const vmState = {
  pending: [1, 0],
  hold: [2, 0],
  prolog: [3, 1],
  boot: [3, 2],
  running: [3, 3],
  suspended: [5, 0],
  stopped: [4, 0],
  done: [6, 0],
  poweroff: [8, 0],
  undeployed: [9, 0],
  cloning: [10, 0],
  bootFailure: [3, 36],
  prologFailure: [3, 39],
  backup: [3, 69],
  backupPoweroff: [8, 70],
} as const;

export type VmState = readonly [state: number, lcmState: number];

export const noBackups = '<BACKUPS><BACKUP_CONFIG/><BACKUP_IDS></BACKUP_IDS></BACKUPS>';

export function getVm(world: World, id: number): Vm {
  const found = world.vms.get(id);
  if (!found) throw noSuch('vm', id);
  return found;
}

/** As in oned, the PREV_ states equal the states again once the change has been stored. */
export function setVmState(vm: Vm, [state, lcmState]: VmState): void {
  vm.state = state;
  vm.lcmState = lcmState;
  vm.prevState = state;
  vm.prevLcmState = lcmState;
}

const stateWords = [
  'INIT',
  'PENDING',
  'HOLD',
  'ACTIVE',
  'STOPPED',
  'SUSPENDED',
  'DONE',
  'FAILED',
  'POWEROFF',
  'UNDEPLOYED',
  'CLONING',
];
const lcmWords = new Map([
  [1, 'PROLOG'],
  [3, 'RUNNING'],
  [12, 'SHUTDOWN'],
  [18, 'SHUTDOWN_POWEROFF'],
  [20, 'BOOT_POWEROFF'],
  [29, 'SHUTDOWN_UNDEPLOY'],
  [36, 'BOOT_FAILURE'],
  [39, 'PROLOG_FAILURE'],
  [69, 'BACKUP'],
]);

/** The state in oned's error texts. */
export function stateWord({ state, lcmState }: Vm): string {
  return (state === 3 ? lcmWords.get(lcmState) : undefined) ?? stateWords[state] ?? String(state);
}

export function newHistory(
  host: { id: number; name: string },
  tmMad: string,
  datastoreId: number,
  stime: number,
): History {
  return {
    hostname: host.name,
    hostId: host.id,
    tmMad,
    vmMad: 'qemu',
    datastoreId,
    stime,
    etime: 0,
    pstime: stime,
    petime: 0,
    rstime: 0,
    retime: 0,
    estime: 0,
    eetime: 0,
    action: 0,
    uid: -1,
    gid: -1,
    requestId: -1,
  };
}

function historyXml(vmId: number, one: History, seq: number): string {
  return (
    `<HISTORY><OID>${vmId}</OID><SEQ>${seq}</SEQ><HOSTNAME>${one.hostname}</HOSTNAME>` +
    `<HID>${one.hostId}</HID><CID>0</CID><STIME>${one.stime}</STIME><ETIME>${one.etime}</ETIME>` +
    `<VM_MAD>${cdata(one.vmMad)}</VM_MAD><TM_MAD>${cdata(one.tmMad)}</TM_MAD><DS_ID>${one.datastoreId}</DS_ID>` +
    `<PSTIME>${one.pstime}</PSTIME><PETIME>${one.petime}</PETIME><RSTIME>${one.rstime}</RSTIME>` +
    `<RETIME>${one.retime}</RETIME><ESTIME>${one.estime}</ESTIME><EETIME>${one.eetime}</EETIME>` +
    `<ACTION>${one.action}</ACTION><UID>${one.uid}</UID><GID>${one.gid}</GID>` +
    `<REQUEST_ID>${one.requestId}</REQUEST_ID></HISTORY>`
  );
}

export function vmXml(vm: Vm): string {
  const history = vm.history.map((one, seq) => historyXml(vm.id, one, seq)).join('');
  return (
    `<VM>${identityXml(vm)}${permissionsXml(vm)}<LAST_POLL>${vm.lastPoll}</LAST_POLL>` +
    `<STATE>${vm.state}</STATE><LCM_STATE>${vm.lcmState}</LCM_STATE>` +
    `<PREV_STATE>${vm.prevState}</PREV_STATE><PREV_LCM_STATE>${vm.prevLcmState}</PREV_LCM_STATE>` +
    `<RESCHED>0</RESCHED><STIME>${vm.stime}</STIME><ETIME>${vm.etime}</ETIME>` +
    `<DEPLOY_ID>${vm.deployId}</DEPLOY_ID>${lockXml(vm)}${vm.monitoring}` +
    `${vm.template.toXml('TEMPLATE')}${vm.userTemplate.toXml('USER_TEMPLATE')}` +
    (history ? `<HISTORY_RECORDS>${history}</HISTORY_RECORDS>` : '<HISTORY_RECORDS/>') +
    `${vm.snapshotsXml}${vm.backupsXml}</VM>`
  );
}
