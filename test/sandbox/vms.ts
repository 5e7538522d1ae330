// one.vm.info and one.vmpool.info, which shows a VM in few words only. Source: VirtualMachine::to_xml_short
// and RequestManagerPoolInfoFilter.cc of 6.10.5.
import { cdata } from './template.ts';
import type { Vector } from './template.ts';
import { shownTo } from './pools.ts';
import { authorize, identityXml, lockXml } from './users.ts';
import { getVm, vmState, vmXml } from './vm.ts';
import type { Vm } from './vm.ts';
import type { Call, MethodTable } from './world.ts';

const diskNames = [
  'DISK_ID',
  'DATASTORE',
  'DATASTORE_ID',
  'IMAGE',
  'IMAGE_ID',
  'SIZE',
  'TYPE',
  'CLONE',
  'CLONE_TARGET',
  'LN_TARGET',
  'DISK_SNAPSHOT_TOTAL_SIZE',
];
const nicNames = ['IP', 'MAC', 'NETWORK', 'NETWORK_ID', 'NIC_ID', 'SECURITY_GROUPS'];
const userNames = [
  'LABELS',
  'ERROR',
  'SCHED_MESSAGE',
  'SCHED_REQUIREMENTS',
  'SCHED_DS_REQUIREMENTS',
];

function part(name: string, vector: Vector, names: readonly string[]): string {
  const inner = names.map((one) => `<${one}>${cdata(vector.get(one) ?? '')}</${one}>`);
  return `<${name}>${inner.join('')}</${name}>`;
}

function shortXml(vm: Vm): string {
  const { template, userTemplate } = vm;
  const numbers = ['CPU', 'MEMORY', 'VCPU'].flatMap((name) => {
    const value = template.get(name);
    return value === undefined ? [] : [`<${name}>${value}</${name}>`];
  });
  const disks = template.vectors('DISK').map((disk) => part('DISK', disk, diskNames));
  const nics = template.vectors('NIC').map((nic) => part('NIC', nic, nicNames));
  const graphics = template
    .vectors('GRAPHICS')
    .map((one) => part('GRAPHICS', one, [...one.keys()].sort()));
  const user = userNames.flatMap((name) => {
    const value = userTemplate.get(name);
    return value ? [`<${name}>${cdata(value)}</${name}>`] : [];
  });
  const inner = [...numbers, ...disks, ...nics, ...graphics].join('');
  const empty = userTemplate.all().length === 0;
  return (
    `<VM>${identityXml(vm)}<LAST_POLL>0</LAST_POLL><STATE>${vm.state}</STATE>` +
    `<LCM_STATE>${vm.lcmState}</LCM_STATE><RESCHED>0</RESCHED><STIME>${vm.stime}</STIME>` +
    `<ETIME>${vm.etime}</ETIME><DEPLOY_ID>${vm.deployId}</DEPLOY_ID>${lockXml(vm)}` +
    `<TEMPLATE>${inner}</TEMPLATE><MONITORING/>` +
    (empty ? '<USER_TEMPLATE/>' : `<USER_TEMPLATE>${user.join('')}</USER_TEMPLATE>`) +
    `${shortHistory(vm)}</VM>`
  );
}

function shortHistory(vm: Vm): string {
  const last = vm.history.at(-1);
  if (!last) return '<HISTORY_RECORDS/>';
  return (
    `<HISTORY_RECORDS><HISTORY><OID>${vm.id}</OID><SEQ>${vm.history.length - 1}</SEQ>` +
    `<HOSTNAME>${cdata(last.hostname)}</HOSTNAME><HID>${last.hostId}</HID><CID>0</CID>` +
    `<DS_ID>${last.datastoreId}</DS_ID><VM_MAD>${cdata(last.vmMad)}</VM_MAD>` +
    `<TM_MAD>${cdata(last.tmMad)}</TM_MAD><ACTION>${cdata(String(last.action))}</ACTION>` +
    '</HISTORY></HISTORY_RECORDS>'
  );
}

/** one.vmpool.info(filter, first, last, state, query): state -1 is every one but DONE, -2 all. */
function pool(call: Call, xmlOf: (vm: Vm) => string): string {
  const wanted = call.params.size > 4 ? call.params.int(4) : -1;
  const shown = shownTo(call, 'vm', call.world.vms).filter(({ state }) => {
    if (wanted === -1) return state !== vmState.done[0];
    return wanted === -2 || state === wanted;
  });
  return `<VM_POOL>${shown.map(xmlOf).join('')}</VM_POOL>`;
}

function info(call: Call): string {
  const vm = getVm(call.world, call.params.int(1));
  authorize(call.user, 'vm', vm, 'USE', false);
  return vmXml(vm);
}

export const vmMethods: MethodTable = {
  'one.vm.info': info,
  'one.vmpool.info': (call) => pool(call, shortXml),
  'one.vmpool.infoextended': (call) => pool(call, vmXml),
};
