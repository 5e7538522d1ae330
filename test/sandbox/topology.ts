// TOPOLOGY and NUMA_NODE of a template that becomes a VM.
// Source: VirtualMachine::parse_topology, read in 6.4.7, 6.10.5 and 7.4.0.
import type { Release } from './release.ts';
import type { Template, Vector } from './template.ts';
import { VmError } from './vm-error.ts';

function count(vector: Vector, name: string): number {
  return parseInt(vector.get(name) ?? '', 10) || 0;
}

function node(cpus: number, memoryMb: number): Vector {
  return new Map([
    ['TOTAL_CPUS', String(cpus)],
    ['MEMORY', String(memoryMb * 1024)],
  ]);
}

/** The checks of NUMA nodes that a template gives itself. */
function ownNodes(nodes: readonly Vector[], vcpu: number, memory: number): Vector[] {
  const made = nodes.map((one) => node(count(one, 'TOTAL_CPUS'), count(one, 'MEMORY')));
  const sum = (name: string): number => nodes.reduce((total, one) => total + count(one, name), 0);
  for (const name of ['TOTAL_CPUS', 'MEMORY']) {
    if (nodes.some((one) => count(one, name) <= 0)) {
      throw new VmError(`A NUMA_NODE must have ${name} greater than 0`);
    }
  }
  if (sum('TOTAL_CPUS') !== vcpu) {
    throw new VmError('Total CPUS of NUMA nodes is different from VM VCPU');
  }
  if (sum('MEMORY') !== memory) {
    throw new VmError('Total MEMORY of NUMA nodes is different from VM MEMORY');
  }
  return made;
}

function notPinned(template: Template, topology: Vector, release: Release): void {
  const vcpu = Number(template.get('VCPU'));
  const parts = ['SOCKETS', 'CORES', 'THREADS'].map((name) => count(topology, name));
  if (release.atLeast('6.8.0') && parts.every((part) => part === 0)) {
    topology.set('SOCKETS', '1').set('CORES', String(vcpu)).set('THREADS', '1');
  } else if (parts.includes(0)) {
    throw new VmError(
      'Non-pinned VMs with a virtual topology needs to set  SOCKETS, CORES and THREADS numbers.',
    );
  } else if (parts.reduce((product, part) => product * part, 1) !== vcpu) {
    throw new VmError('Total threads per core and socket needs to match VCPU');
  }
  topology.set('PIN_POLICY', 'NONE');
  template.erase('NUMA_NODE');
  const affinity = release.atLeast('6.8.0') && topology.has('NODE_AFFINITY');
  if (release.atLeast('6.8.0') && (affinity || count(topology, 'HUGEPAGE_SIZE') > 0)) {
    template.add('NUMA_NODE', node(vcpu, Number(template.get('MEMORY'))));
  }
}

/** Sockets, cores and threads of a pinned VM. @returns the number of sockets. */
function pinnedParts(topology: Vector, nodes: number, vcpu: number): number {
  const sockets = count(topology, 'SOCKETS') || nodes || 1;
  topology.set('SOCKETS', String(sockets));
  const [cores, threads] = [count(topology, 'CORES'), count(topology, 'THREADS')];
  if (cores > 0 && threads > 0 && sockets * cores * threads !== vcpu) {
    throw new VmError('Total threads per core and socket needs to match VCPU');
  }
  if (threads > 0 || cores === 0) return sockets;
  if (vcpu % (cores * sockets) !== 0) {
    throw new VmError('VCPU is not multiple of the total number of cores');
  }
  const computed = vcpu / (cores * sockets);
  if (!Number.isInteger(Math.log2(computed))) {
    throw new VmError('Computed number of threads is not power of 2');
  }
  topology.set('THREADS', String(computed));
  return sockets;
}

/** Completes TOPOLOGY: a VM that is not pinned gets PIN_POLICY=NONE. @throws VmError in oned's words. */
export function completeTopology(template: Template, release: Release): void {
  const given = template.vectors('TOPOLOGY')[0];
  const nodes = template.vectors('NUMA_NODE');
  template.erase('TOPOLOGY');
  if (!given && nodes.length === 0) return;
  const topology: Vector = new Map(given);
  const pinned = ['CORE', 'THREAD', 'SHARED'].includes(
    (topology.get('PIN_POLICY') ?? '').toUpperCase(),
  );
  if (!/^-?\d+$/.test(topology.get('NODE_AFFINITY') ?? '')) topology.delete('NODE_AFFINITY');
  if (release.atLeast('6.8.0') && pinned && topology.has('NODE_AFFINITY')) {
    throw new VmError('NUMA node affinity cannot be set for pinned VMs');
  }
  const memory = Number(template.get('MEMORY') ?? NaN);
  if (Number.isNaN(memory)) throw new VmError('VM has not MEMORY set');
  if (template.get('VCPU') === undefined) template.replace('VCPU', '1');
  const vcpu = Number(template.get('VCPU'));
  if (pinned) template.replace('CPU', String(vcpu));
  if (template.get('VCPU_MAX') !== undefined) {
    throw new VmError('VM with TOPOLOGY does not support CPU hotplug (VCPU_MAX)');
  }
  if (!pinned) {
    notPinned(template, topology, release);
    template.add('TOPOLOGY', topology);
    return;
  }
  const sockets = pinnedParts(topology, nodes.length, vcpu);
  template.add('TOPOLOGY', topology);
  template.erase('NUMA_NODE');
  if (nodes.length > 0) {
    for (const one of ownNodes(nodes, vcpu, memory)) template.add('NUMA_NODE', one);
    return;
  }
  if (vcpu % sockets !== 0) {
    throw new VmError('VCPU is not multiple of the number of NUMA nodes');
  }
  if (memory % sockets !== 0) {
    throw new VmError('MEMORY is not multiple of the number of NUMA nodes');
  }
  for (let at = 0; at < sockets; at += 1) {
    template.add('NUMA_NODE', node(vcpu / sockets, memory / sockets));
  }
}
