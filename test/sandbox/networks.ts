// One simple network, net1, so that NICs get addresses. Source: VirtualMachineNic.cc, AddressRange.cc.
import { noSuch } from './failure.ts';
import { cdata } from './template.ts';
import type { Vector } from './template.ts';
import type { Vm } from './vm.ts';
import type { Handler, MethodTable, World } from './world.ts';

export class NicError extends Error {
  override readonly name = 'NicError';
}

const net = {
  id: 0,
  name: 'net1',
  bridge: 'br-lab',
  firstAddress: '10.9.0.10',
  size: 100,
} as const;

function address(offset: number): string {
  return `10.9.0.${10 + offset}`;
}

/** OpenNebula's rule: 02:00 and the four bytes of the address. */
function mac(ip: string): string {
  const bytes = ip.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return `02:00:${bytes.join(':')}`;
}

function leases(world: World): Set<string> {
  const inUse = [...world.vms.values()].filter((vm) => vm.state !== 6);
  const nics = inUse.flatMap((vm) => vm.template.vectors('NIC'));
  return new Set(nics.map((nic) => nic.get('IP') ?? ''));
}

function lease(nic: Vector, taken: Set<string>): string {
  const wanted = nic.get('IP');
  if (wanted !== undefined) {
    const offset = Number(wanted.split('.')[3]) - 10;
    if (!wanted.startsWith('10.9.0.') || !(offset >= 0 && offset < net.size) || taken.has(wanted)) {
      throw new NicError(`Cannot get IP/MAC lease from virtual network ${net.id}.`);
    }
    return wanted;
  }
  for (let offset = 0; offset < net.size; offset += 1) {
    if (!taken.has(address(offset))) return address(offset);
  }
  throw new NicError(`Cannot get IP/MAC lease from virtual network ${net.id}.`);
}

/** Gives every NIC of a new VM its address and attributes. @throws NicError in oned's words. */
export function leaseNics(world: World, vm: Vm): void {
  const taken = leases(world);
  for (const [id, nic] of vm.template.vectors('NIC').entries()) {
    const { NETWORK: name, NETWORK_ID: wantedId, NETWORK_UNAME: uname } = Object.fromEntries(nic);
    const found = wantedId === undefined ? name === net.name : wantedId === String(net.id);
    if (!found || (uname !== undefined && uname !== 'oneadmin')) {
      throw new NicError(
        wantedId === undefined
          ? `User ${vm.uid} does not own a network with name: ${name ?? ''} . Set NETWORK_UNAME or NETWORK_UID of owner in NIC.`
          : `Virtual network with ID: ${wantedId} does not exist`,
      );
    }
    const ip = lease(nic, taken);
    taken.add(ip);
    const values = {
      AR_ID: '0',
      BRIDGE: net.bridge,
      BRIDGE_TYPE: 'linux',
      CLUSTER_ID: '0',
      IP: ip,
      MAC: nic.get('MAC') ?? mac(ip),
      NAME: nic.get('NAME') ?? `NIC${id}`,
      NETWORK: net.name,
      NETWORK_ID: String(net.id),
      NIC_ID: String(id),
      SECURITY_GROUPS: nic.get('SECURITY_GROUPS') ?? '0',
      TARGET: `one-${vm.id}-${id}`,
      VN_MAD: 'dummy',
    };
    for (const [key, value] of Object.entries(values)) nic.set(key, value);
  }
  if (vm.template.vectors('NIC').length > 0) addSecurityRules(vm);
}

function addSecurityRules(vm: Vm): void {
  for (const direction of ['OUTBOUND', 'INBOUND']) {
    vm.template.add(
      'SECURITY_GROUP_RULE',
      new Map([
        ['PROTOCOL', 'ALL'],
        ['RULE_TYPE', direction],
        ['SECURITY_GROUP_ID', '0'],
        ['SECURITY_GROUP_NAME', 'default'],
      ]),
    );
  }
}

function networkXml(world: World): string {
  const used = leases(world).size;
  return (
    `<VNET><ID>${net.id}</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME>` +
    `<NAME>${net.name}</NAME><PERMISSIONS><OWNER_U>1</OWNER_U><OWNER_M>1</OWNER_M><OWNER_A>0</OWNER_A>` +
    '<GROUP_U>0</GROUP_U><GROUP_M>0</GROUP_M><GROUP_A>0</GROUP_A><OTHER_U>0</OTHER_U><OTHER_M>0</OTHER_M>' +
    `<OTHER_A>0</OTHER_A></PERMISSIONS><CLUSTERS><ID>0</ID></CLUSTERS><BRIDGE>${cdata(net.bridge)}</BRIDGE>` +
    `<VN_MAD>${cdata('dummy')}</VN_MAD><USED_LEASES>${used}</USED_LEASES><VROUTERS></VROUTERS>` +
    `<TEMPLATE><BRIDGE_TYPE>${cdata('linux')}</BRIDGE_TYPE><SECURITY_GROUPS>${cdata('0')}</SECURITY_GROUPS></TEMPLATE>` +
    `<AR_POOL><AR><AR_ID>${cdata('0')}</AR_ID><IP>${cdata(net.firstAddress)}</IP><SIZE>${cdata(String(net.size))}</SIZE>` +
    `<TYPE>${cdata('IP4')}</TYPE></AR></AR_POOL></VNET>`
  );
}

const info: Handler = ({ world, params }) => {
  const id = params.int(1);
  if (id !== net.id) throw noSuch('network', id);
  return networkXml(world);
};

export const networkMethods: MethodTable = {
  'one.vn.info': info,
  'one.vnpool.info': ({ world }) => `<VNET_POOL>${networkXml(world)}</VNET_POOL>`,
};
