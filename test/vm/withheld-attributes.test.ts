import { describe, expect, test } from '@jest/globals';
import { child } from '../../lib/xml/xml.ts';
import { names, restoreAll, vmWith } from './template-of.ts';

const nic = (id: number, address: string) =>
  `<NIC><NIC_ID>${id}</NIC_ID><NETWORK_ID>4</NETWORK_ID>${address}</NIC>`;
const mac = '<MAC>02:00:00:00:00:01</MAC>';
const hosts = `<RAW><TYPE>kvm</TYPE><DATA>x</DATA></RAW><EMULATOR>/bin/sh</EMULATOR><PCI><CLASS>0300</CLASS></PCI>
  <CONTEXT><TARGET>hda</TARGET><FILES>/etc/shadow</FILES></CONTEXT><OS><ARCH>x86_64</ARCH><KERNEL>/boot/k</KERNEL></OS>`;

describe('attributes that a user may not set', () => {
  const restricted = [
    'NIC/MAC',
    'TOPOLOGY/PIN_POLICY',
    'RAW/DATA',
    'PCI',
    'CONTEXT/FILES',
    'CPU_COST',
  ];

  test('an ordinary user loses nothing, and is told nothing, when a NIC keeps its IP', () => {
    const vm = vmWith(nic(0, `<IP>10.0.0.5</IP>${mac}`));
    const { xml, warnings } = restoreAll(vm, { nics: 'same-addresses', restricted });
    expect(names(child(xml, 'NIC'))).toEqual(['NETWORK_ID', 'IP']);
    expect(warnings).toEqual([]);
  });

  test('one warning names all the MACs that an ordinary user loses', () => {
    const vm = vmWith(
      `${nic(0, mac)}${nic(1, '<IP>10.0.0.5</IP>')}${nic(2, mac.replace('01<', '02<'))}`,
    );
    const { xml, warnings } = restoreAll(vm, { nics: 'same-addresses', restricted });
    expect(names(child(xml, 'NIC'))).toEqual(['NETWORK_ID']);
    expect(warnings).toEqual([
      'NIC/MAC is left out: only administrators may set it (VM_RESTRICTED_ATTR); new addresses take the place of 02:00:00:00:00:01, 02:00:00:00:00:02',
    ]);
  });

  test('an administrator who restores keeps all MACs', () => {
    const vm = vmWith(`${nic(0, mac)}<CPU_COST>1</CPU_COST>`);
    const { xml, warnings } = restoreAll(vm, { nics: 'same-addresses' });
    expect(names(xml)).toEqual(['NAME', 'CPU', 'CPU_COST', 'NIC']);
    expect(names(child(xml, 'NIC'))).toEqual(['NETWORK_ID', 'MAC']);
    expect(warnings).toEqual([]);
  });

  test('a VM that an ordinary user may not pin is restored without nodes', () => {
    const node = '<NUMA_NODE><TOTAL_CPUS>2</TOTAL_CPUS><MEMORY>524288</MEMORY></NUMA_NODE>';
    const vm = vmWith(
      `<TOPOLOGY><PIN_POLICY>CORE</PIN_POLICY><SOCKETS>1</SOCKETS></TOPOLOGY>${node}`,
    );
    const { xml, warnings } = restoreAll(vm, { restricted });
    expect(names(xml)).toEqual(['NAME', 'CPU']);
    expect(warnings).toEqual([
      'TOPOLOGY/PIN_POLICY is left out: only administrators may set it (VM_RESTRICTED_ATTR); the VM is not pinned to CPUs',
    ]);
  });

  test('no warning is about the pin policy that oned gave every VM with a topology', () => {
    const vm = vmWith(
      '<TOPOLOGY><PIN_POLICY>NONE</PIN_POLICY><SOCKETS>1</SOCKETS><CORES>1</CORES><THREADS>1</THREADS></TOPOLOGY>',
    );
    expect(restoreAll(vm, { restricted }).warnings).toEqual([]);
  });

  test("what acts on the host is left out of an ordinary user's template as the list says, and RAW with its data; nothing is said to be kept that is not", () => {
    const { xml, warnings } = restoreAll(vmWith(hosts), {
      restricted: [...restricted, 'emulator'],
    });
    expect(names(xml)).toEqual(['NAME', 'CPU', 'CONTEXT', 'OS']);
    expect(names(child(xml, 'CONTEXT'))).toEqual(['TARGET']);
    expect(warnings.map((text) => text.split(' is ')[0])).toEqual([
      'RAW/DATA',
      'EMULATOR',
      'PCI',
      'CONTEXT/FILES',
      'OS/KERNEL',
    ]);
  });
});

describe('attributes that act on the host', () => {
  test('attributes that act on the host are kept, and each is named in a warning', () => {
    const { xml, warnings } = restoreAll(vmWith(hosts));
    expect(names(xml)).toEqual(['NAME', 'CPU', 'RAW', 'EMULATOR', 'PCI', 'CONTEXT', 'OS']);
    expect(warnings).toEqual([
      'RAW is kept, and is given to libvirt on the host as it is: check it before the VM is started (--no-restricted leaves it out)',
      'EMULATOR is kept, and is a program that the host runs: check it before the VM is started (--no-restricted leaves it out)',
      'PCI is kept, and gives the VM a device of the host: check it before the VM is started (--no-restricted leaves it out)',
      'CONTEXT/FILES is kept, and are files of the front-end that the VM can read: check it before the VM is started (--no-restricted leaves it out)',
      'OS/KERNEL is kept, and is a file of the host: check it before the VM is started (--no-restricted leaves it out)',
    ]);
  });

  test('attributes that act on the host are left out when asked, with the aliases of a PCI NIC', () => {
    const pci = '<PCI><TYPE>NIC</TYPE><NIC_ID>0</NIC_ID><NETWORK_ID>4</NETWORK_ID></PCI>';
    const alias =
      '<NIC_ALIAS><NIC_ID>1</NIC_ID><NETWORK_ID>4</NETWORK_ID><PARENT_ID>0</PARENT_ID></NIC_ALIAS>';
    const vm = vmWith(`${hosts.replace(/<PCI>.*<\/PCI>/, '')}${pci}${alias}`);
    const { xml, warnings } = restoreAll(vm, { nics: 'same-addresses', noHostAttributes: true });
    expect(names(xml)).toEqual(['NAME', 'CPU', 'CONTEXT', 'OS']);
    expect(names(child(xml, 'OS'))).toEqual(['ARCH']);
    expect(warnings).toContain('PCI is left out, because it gives the VM a device of the host');
    expect(warnings).toContain(
      'RAW is left out, because it is given to libvirt on the host as it is',
    );
    expect(warnings).toContain('NIC alias 1 is left out: its NIC is not restored');
  });

  test('a script of a NIC is one of the attributes that act on the host', () => {
    const vm = vmWith(nic(0, '<SCRIPT>/tmp/x</SCRIPT>'));
    const { xml } = restoreAll(vm, { nics: 'same-addresses', noHostAttributes: true });
    expect(names(child(xml, 'NIC'))).toEqual(['NETWORK_ID']);
  });
});
