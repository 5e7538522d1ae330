// TOPOLOGY and NUMA_NODE of a restored VM (VirtualMachineParser.cc, parse_topology). Pure.
import { childrenOf, textIn, type XmlElement } from '../xml/xml.ts';
import { applyRules, single, vectorOf } from './attribute-rules.ts';
import { attributeTable } from './template-attributes.ts';
import type { Vm } from './vm.ts';

/**
 * @param topology TOPOLOGY after its rules; without PIN_POLICY the VM is not pinned
 * @returns TOPOLOGY, and for a pinned VM its nodes; oned makes the nodes of other VMs
 */
export function restoredTopology(vm: Vm, topology: XmlElement): XmlElement[] {
  if (textIn(topology, 'PIN_POLICY') !== '') return [topology, ...nodes(vm)];
  // Without PIN_POLICY, oned accepts these three only together.
  const whole = ['SOCKETS', 'CORES', 'THREADS'].every((name) => textIn(topology, name) !== '');
  return whole ? [topology] : [];
}

/** oned stores MEMORY of a node in KiB and reads it in MiB. */
function nodes(vm: Vm): XmlElement[] {
  return childrenOf(vm.template, 'NUMA_NODE').flatMap((node) => {
    const kib = Number(textIn(node, 'MEMORY'));
    if (textIn(node, 'TOTAL_CPUS') === '' || !(kib >= 1024)) return [];
    const memory = () => single('MEMORY', String(Math.floor(kib / 1024)));
    return [vectorOf('NUMA_NODE', applyRules(attributeTable.NUMA_NODE, node, memory))];
  });
}
