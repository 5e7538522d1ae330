// TOPOLOGY and NUMA_NODE of a restored VM (VirtualMachineParser.cc, parse_topology). Pure.
import { childrenOf, textIn, type XmlElement } from '../xml/xml.ts';
import { applyRules, single, vectorOf } from './attribute-rules.ts';
import { attributeTable } from './template-attributes.ts';
import type { Vm } from './vm.ts';

/**
 * @param topology what is left of TOPOLOGY; without PIN_POLICY the VM is not pinned any more
 * @returns TOPOLOGY and the nodes; nodes of a VM that is not pinned are made by oned
 */
export function restoredTopology(vm: Vm, topology: XmlElement): XmlElement[] {
  if (textIn(topology, 'PIN_POLICY') !== '') return [topology, ...nodes(vm)];
  // oned refuses some of these three where a VM is not pinned.
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
