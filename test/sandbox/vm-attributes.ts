// Attributes that oned checks and completes one by one while it makes a VM.
// Source: VirtualMachineParser.cc (parse_os, parse_features, parse_defaults, parse_vrouter, parse_pci,
// parse_graphics, parse_video, parse_requirements), HostSharePCI::set_pci_address and src/vmm_mad/exec/
// vmm_exec_kvm.conf, read in 6.4.7, 6.10.5 and 7.4.0.
import { createHash, randomUUID } from 'node:crypto';
import { addOsFile } from './file-variables.ts';
import type { Template, Vector } from './template.ts';
import { OnedDied, VmError } from './vm-error.ts';
import { fillIn } from './vm-variables.ts';
import type { Vm } from './vm.ts';
import type { World } from './world.ts';

/** Moves all attributes of a name, whatever they are. */
export function move(name: string, from: Template, to: Template): void {
  for (const one of from.all()) if (one.name === name) to.add(name, one.value);
  from.erase(name);
}

/** Moves all vectors of a name from USER_TEMPLATE to TEMPLATE; single values of it are lost. */
export function moveVectors(vm: Vm, name: string): readonly Vector[] {
  const vectors = vm.userTemplate.vectors(name);
  vm.userTemplate.erase(name);
  for (const vector of vectors) vm.template.add(name, vector);
  return vm.template.vectors(name);
}

/** An OS that is not a vector, such as OS="", is refused. */
export function addOs(world: World, vm: Vm): void {
  const given = vm.userTemplate.all().filter(({ name }) => name === 'OS');
  vm.userTemplate.erase('OS');
  if (given.length > 1) throw new VmError('Only one OS attribute can be defined.');
  const value = given[0]?.value ?? new Map<string, string>();
  if (typeof value === 'string') throw new VmError('Internal error parsing OS attribute.');
  const os = new Map(value);
  addOsFile(world, vm, os, 'KERNEL');
  addOsFile(world, vm, os, 'INITRD');
  if (!os.get('UUID')) os.set('UUID', randomUUID());
  // From 7.2 on the KVM driver's default machine is written into the VM.
  if (world.settings.release.atLeast('7.2.0') && !os.get('MACHINE')) os.set('MACHINE', 'q35');
  vm.template.add('OS', os);
}

const yesOrNo = [
  ...['PAE', 'ACPI', 'APIC', 'HYPERV', 'LOCALTIME', 'GUEST_AGENT', 'RAS'],
  'MIGRATE_COMPRESSED',
];

/** FEATURES: from 7.4 on oned writes YES or NO itself, and leaves what is not a vector with the user. */
export function addFeatures(world: World, vm: Vm): void {
  const written = world.settings.release.atLeast('7.4.0');
  if (written && vm.userTemplate.vectors('FEATURES').length === 0) return;
  move('FEATURES', vm.userTemplate, vm.template);
  for (const features of written ? vm.template.vectors('FEATURES').slice(0, 1) : []) {
    for (const name of yesOrNo) {
      const value = features.get(name);
      if (value) features.set(name, value.toUpperCase() === 'YES' ? 'YES' : 'NO');
    }
  }
}

export function addNicDefault(vm: Vm): void {
  const given = vm.userTemplate.all().filter(({ name }) => name === 'NIC_DEFAULT');
  vm.userTemplate.erase('NIC_DEFAULT');
  if (given.length > 1) throw new VmError('Only one NIC_DEFAULT attribute can be defined.');
  const value = given[0]?.value;
  if (typeof value === 'string') throw new VmError('Wrong format for NIC_DEFAULT attribute.');
  if (!value) return;
  for (const name of ['NETWORK_ID', 'NETWORK', 'NETWORK_UID', 'NETWORK_UNAME']) {
    if (value.get(name)) throw new VmError(`Attribute ${name} is not allowed inside NIC_DEFAULT.`);
  }
  vm.template.add('NIC_DEFAULT', value);
}

/** What makes a VM part of a virtual router; CONTEXT gets it, too. */
export const virtualRouterAttributes = [
  'VROUTER_ID',
  'VROUTER_KEEPALIVED_ID',
  'VROUTER_KEEPALIVED_PASSWORD',
] as const;

export function moveVirtualRouter(vm: Vm): void {
  for (const name of virtualRouterAttributes) {
    const value = vm.userTemplate.take(name);
    if (value !== '') vm.template.replace(name, value);
  }
}

function checkPci(pci: Vector, bySlot: boolean): void {
  const ids = ['VENDOR', 'DEVICE', 'CLASS'].filter((name) => pci.get(name));
  for (const name of ids) {
    if (!/^(0x)?[0-9a-f]+$/i.test(pci.get(name) ?? '')) {
      throw new VmError(`Wrong Hex value for PCI attribute ${name}`);
    }
  }
  const address = bySlot ? (pci.get('SHORT_ADDRESS') ?? '') : '';
  if (address === '' && ids.length === 0) {
    const first = bySlot ? 'SHORT_ADDRESS, ' : '';
    throw new VmError(`${first}DEVICE, VENDOR or CLASS must be defined for PCI.`);
  }
  if (address !== '' && ids.length > 0) {
    throw new VmError('SHORT_ADDRESS cannot be set with DEVICE, VENDOR or CLASS');
  }
}

const ofTheHost = [
  ...['DOMAIN', 'BUS', 'SLOT', 'FUNCTION', 'ADDRESS', 'PREV_ADDRESS', 'NUMA_NODE', 'UUID'],
  'MDEV_MODE',
];

/** PCI devices get their ids and, before 7.0, their place in the guest. */
export function addPci(world: World, vm: Vm): void {
  const { release } = world.settings;
  const hex = (number: number, length: number): string => number.toString(16).padStart(length, '0');
  const q35 = (vm.template.vectors('OS')[0]?.get('MACHINE') ?? '').includes('q35');
  for (const [id, pci] of moveVectors(vm, 'PCI').entries()) {
    pci.set('PCI_ID', String(id));
    checkPci(pci, release.atLeast('6.6.0'));
    for (const name of release.atLeast('6.6.0') ? ofTheHost : []) pci.delete(name);
    const given = pci.get('VM_BUS') || '0x01';
    if (!/^(0x)?[0-9a-f]+$/i.test(given)) {
      const name = release.atLeast('7.0.0') ? 'VM_BUS' : 'BUS';
      throw new VmError(`Wrong ${name} in PCI attribute`);
    }
    if (release.atLeast('7.0.0')) {
      pci.set('VM_BUS', given);
      continue;
    }
    const [bus, slot] = q35 ? [id + 1, 0] : [parseInt(given, 16), id + 1];
    pci.set('VM_DOMAIN', '0x0000').set('VM_FUNCTION', '0');
    pci.set('VM_BUS', `0x${hex(bus, 2)}`).set('VM_SLOT', slot === 0 ? '0000' : `0x${hex(slot, 2)}`);
    pci.set('VM_ADDRESS', `${hex(bus, 2)}:${hex(slot, 2)}.0`);
  }
}

export function addCpuModel(world: World, vm: Vm): void {
  const given = firstVector(world, vm, { name: 'CPU_MODEL', diesFrom: '5.0.0' });
  if (given) vm.template.add('CPU_MODEL', given);
}

/**
 * Takes an attribute of which only the first vector counts. Before 7.4.0 oned does not look whether there is a
 * vector at all, and dies when there is not, such as with CPU_MODEL="" (seen with 6.10.5).
 * @param diesFrom the first release that dies
 * @throws OnedDied
 */
export function firstVector(
  world: World,
  vm: Vm,
  { name, diesFrom }: { readonly name: string; readonly diesFrom: string },
): Vector | undefined {
  const { release } = world.settings;
  const isGiven = vm.userTemplate.all().some((one) => one.name === name);
  const [first] = vm.userTemplate.vectors(name);
  if (isGiven && !first && release.atLeast(diesFrom) && !release.atLeast('7.4.0')) {
    throw new OnedDied(`${name} is not a vector`);
  }
  vm.userTemplate.erase(name);
  return first;
}

const longestPassword: Readonly<Record<string, number>> = { vnc: 8, spice: 59 };

/** RANDOM_PASSWD makes a PASSWD, which stays readable in the VM. */
export function addGraphics(world: World, vm: Vm): void {
  const given = firstVector(world, vm, { name: 'GRAPHICS', diesFrom: '6.8.0' });
  if (!given) return;
  const graphics = new Map(given);
  const port = graphics.get('PORT') ?? '';
  if (port !== '' && !(/^\d+$/.test(port) && Number(port) <= 65535)) {
    throw new VmError('Wrong PORT number in GRAPHICS attribute');
  }
  const random = (graphics.get('RANDOM_PASSWD') ?? '').toUpperCase() === 'YES';
  if (random && !graphics.get('PASSWD')) {
    graphics.set('PASSWD', createHash('sha256').update(randomUUID()).digest('hex'));
  }
  const longest = longestPassword[(graphics.get('TYPE') ?? '').toLowerCase()];
  const password = graphics.get('PASSWD') ?? '';
  if (longest !== undefined && password.length > longest) {
    graphics.set('PASSWD', password.slice(0, longest));
  }
  vm.template.replace('GRAPHICS', graphics);
}

/** VIDEO, which OpenNebula knows from 6.8 on. */
export function addVideo(world: World, vm: Vm): void {
  if (!world.settings.release.atLeast('6.8.0')) return;
  const given = firstVector(world, vm, { name: 'VIDEO', diesFrom: '6.8.0' });
  if (!given) return;
  const video = new Map(given);
  const type = (video.get('TYPE') ?? '').toLowerCase();
  if (type === '') throw new VmError('Video TYPE is required');
  if (!['vga', 'cirrus', 'none', 'virtio'].includes(type)) {
    throw new VmError('Invalid video TYPE, should be either: none, vga, cirrus, or virtio');
  }
  video.set('TYPE', type);
  const yes = (name: string): boolean => (video.get(name) ?? '').toUpperCase() === 'YES';
  if ((yes('IOMMU') || yes('ATS')) && type !== 'virtio') {
    throw new VmError('IOMMU and ATS are only available for virtio TYPE');
  }
  const ram = video.get('VRAM') ?? '';
  if (ram !== '' && !(Number(ram) >= 1024)) {
    throw new VmError('Invalid VRAM value in VIDEO attribute, must be >= 1024');
  }
  const resolution = video.get('RESOLUTION') ?? '';
  if (resolution !== '' && !/^\d+x\d+$/.test(resolution)) {
    throw new VmError('Invalid RESOLUTION string format');
  }
  vm.template.replace('VIDEO', video);
}

/** SCHED_REQUIREMENTS stays with the user, with its variables filled in. */
export function fillInRequirements(world: World, vm: Vm): void {
  const { userTemplate } = vm;
  const own = userTemplate.all().filter(({ name }) => name === 'SCHED_REQUIREMENTS');
  const old = userTemplate.all().filter(({ name }) => name === 'REQUIREMENTS');
  userTemplate.erase('SCHED_REQUIREMENTS');
  userTemplate.erase('REQUIREMENTS');
  const given = own.length > 0 ? own : old;
  if (given.length > 1) {
    throw new VmError('Only one SCHED_REQUIREMENTS attribute can be defined.');
  }
  const value = given[0]?.value;
  if (value === undefined) return;
  if (typeof value !== 'string') {
    throw new VmError('Wrong format for SCHED_REQUIREMENTS attribute.');
  }
  userTemplate.add('SCHED_REQUIREMENTS', fillIn(world, vm, value));
}
