// CONTEXT of a new VM: variables of the user are filled in, and every NIC gets its ETH* variables.
// Source: VirtualMachineContext.cc of 6.10.5.
import type { Vector } from './template.ts';
import type { Vm } from './vm.ts';
import { DiskError } from './vm-disks.ts';

/** ETH<n>_<name> and the NIC attribute it comes from; without one it is empty here. */
const etherVariables: readonly (readonly [string, string?])[] = [
  ['DNS', 'DNS'],
  ['EXTERNAL'],
  ['GATEWAY', 'GATEWAY'],
  ['IP', 'IP'],
  ['IP6', 'IP6'],
  ['IP6_GATEWAY'],
  ['IP6_METHOD'],
  ['IP6_METRIC'],
  ['IP6_PREFIX_LENGTH'],
  ['IP6_ULA'],
  ['MAC', 'MAC'],
  ['MASK', 'NETWORK_MASK'],
  ['METHOD'],
  ['METRIC'],
  ['MTU', 'MTU'],
  ['NETWORK', 'NETWORK_ADDRESS'],
  ['SEARCH_DOMAIN'],
  ['VLAN_ID', 'VLAN_ID'],
  ['VROUTER_IP'],
  ['VROUTER_IP6'],
  ['VROUTER_MANAGEMENT'],
];

/** @throws DiskError when CONTEXT asks for OneGate. */
export function addContext(vm: Vm, context: Vector): void {
  if (context.get('TOKEN')?.toUpperCase() === 'YES') {
    throw new DiskError('TOKEN set, but onegate endpoint was not defined in oned.conf.');
  }
  for (const [key, value] of context) {
    context.set(
      key,
      value
        .replace(/\$USER\[[^\]]*\]/g, '')
        .replace(/\$(VMID|NAME|UID|UNAME)\b/g, (_, name: string) => {
          const known = { VMID: vm.id, NAME: vm.name, UID: vm.uid, UNAME: vm.uname };
          return String(known[name as keyof typeof known]);
        }),
    );
  }
  if (context.get('NETWORK')?.toUpperCase() !== 'YES') return;
  for (const nic of vm.template.vectors('NIC')) {
    for (const [name, attribute] of etherVariables) {
      const variable = `ETH${nic.get('NIC_ID') ?? ''}_${name}`;
      if (!context.has(variable)) context.set(variable, (attribute && nic.get(attribute)) ?? '');
    }
  }
}
