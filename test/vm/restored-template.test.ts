import { describe, expect, test } from '@jest/globals';
import { parseVm } from '../../lib/input/vm-xml.ts';
import { child, childrenOf, childText, type XmlElement } from '../../lib/input/xml.ts';
import { restoredTemplate, type TemplateOptions } from '../../lib/vm/restored-template.ts';
import type { Vm } from '../../lib/vm/vm.ts';

const diskXml = (id: number, more = '') =>
  `<DISK><DISK_ID>${id}</DISK_ID><TYPE>FILE</TYPE><IMAGE_ID>${id + 50}</IMAGE_ID><SIZE>10</SIZE>
   <DEV_PREFIX>vd</DEV_PREFIX><TARGET>vd${'abcdefghij'[id] ?? 'z'}</TARGET>
   <SOURCE>/s/${id}</SOURCE><CACHE>writeback</CACHE>${more}</DISK>`;

function vmWith(template: string, beside = ''): Vm {
  return parseVm(
    Buffer.from(`<VM><ID>8</ID><NAME>web</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE>
      <TEMPLATE><CPU>1</CPU><VMID>8</VMID>${template}</TEMPLATE><USER_TEMPLATE/>${beside}</VM>`),
  );
}

function restore(vm: Vm, options: Partial<TemplateOptions> = {}): XmlElement {
  return restoredTemplate(vm, {
    name: 'copy',
    nics: 'none',
    disks: vm.disks.map((disk) => ({ disk, as: 'image', imageId: disk.id + 100 })),
    now: new Date(1_800_000_000_000),
    ...options,
  }).xml;
}

const names = (element: XmlElement | undefined) => element?.children.map(({ name }) => name);

describe('the restored template', () => {
  test('keeps what a user gave and leaves out what oned generates', () => {
    const vm = vmWith(
      `<VCPU>2</VCPU><MEMORY>512</MEMORY><AUTOMATIC_REQUIREMENTS>x</AUTOMATIC_REQUIREMENTS>
       <GRAPHICS><TYPE>VNC</TYPE><PORT>5908</PORT></GRAPHICS><OS><ARCH>x86_64</ARCH><UUID>u</UUID></OS>
       <RAW><TYPE>kvm</TYPE><DATA>&lt;x/&gt;</DATA></RAW><PCI><CLASS>0300</CLASS><ADDRESS>1</ADDRESS></PCI>`,
    );
    const template = restore(vm);
    expect(template.name).toBe('VMTEMPLATE');
    expect(names(template)).toEqual([
      'NAME',
      'CPU',
      'VCPU',
      'MEMORY',
      'GRAPHICS',
      'OS',
      'RAW',
      'PCI',
    ]);
    expect(names(child(template, 'GRAPHICS'))).toEqual(['TYPE']);
    expect(names(child(template, 'OS'))).toEqual(['ARCH']);
    expect(names(child(template, 'PCI'))).toEqual(['CLASS']);
    expect(childText(child(template, 'RAW')!, 'DATA')).toBe('<x/>');
  });

  test('gives each disk its restored image and keeps its other attributes', () => {
    const [disk] = childrenOf(restore(vmWith(diskXml(3))), 'DISK');
    expect(disk!.children.map(({ name, text }) => `${name}=${text}`)).toEqual([
      'IMAGE_ID=103',
      'DEV_PREFIX=vd',
      'TARGET=vdd',
      'CACHE=writeback',
    ]);
  });

  test('does not have a volatile disk with data formatted', () => {
    const vm = vmWith(
      '<DISK><DISK_ID>0</DISK_ID><TYPE>fs</TYPE><FORMAT>raw</FORMAT><SIZE>512</SIZE><FS>ext4</FS></DISK>',
    );
    const disk = vm.disks[0]!;
    const asImage = restore(vm, { disks: [{ disk, as: 'image', imageId: 5 }] });
    expect(JSON.stringify(asImage)).not.toContain('ext4');
    const fresh = restore(vm, { disks: [{ disk, as: 'volatile' }] });
    expect(JSON.stringify(fresh)).toContain('ext4');
  });

  test('gives a fresh volatile disk its type, format and size again', () => {
    const vm = vmWith(
      '<DISK><DISK_ID>1</DISK_ID><TYPE>swap</TYPE><SIZE>16</SIZE><FORMAT>raw</FORMAT></DISK>',
    );
    const template = restore(vm, { disks: [{ disk: vm.disks[0]!, as: 'volatile' }] });
    expect(names(child(template, 'DISK'))).toEqual(['TYPE', 'FORMAT', 'SIZE']);
  });

  test('renumbers the boot order, since oned numbers the new disks from 0', () => {
    const vm = vmWith(`${diskXml(2)}${diskXml(9)}<OS><BOOT>disk9, nic0,disk2,disk5</BOOT></OS>`);
    const boot = (options: Partial<TemplateOptions>) =>
      childText(child(restore(vm, options), 'OS')!, 'BOOT');
    expect(boot({ nics: 'same-addresses' })).toBe('disk1,nic0,disk0');
    expect(boot({})).toBe('disk1,disk0');
  });

  test('has no boot order when nothing of it is restored, since oned would refuse it', () => {
    const vm = vmWith('<OS><ARCH>x86_64</ARCH><BOOT>nic0</BOOT></OS>');
    expect(names(child(restore(vm), 'OS'))).toEqual(['ARCH']);
  });

  test('drops the network values of CONTEXT only when oned will make them again', () => {
    const values = '<DISK_ID>1</DISK_ID><ETH0_IP>10.0.0.1</ETH0_IP><SET_HOSTNAME>a</SET_HOSTNAME>';
    const made = restore(vmWith(`<CONTEXT><NETWORK>YES</NETWORK>${values}</CONTEXT>`));
    expect(names(child(made, 'CONTEXT'))).toEqual(['NETWORK', 'SET_HOSTNAME']);
    const own = restore(vmWith(`<CONTEXT>${values}</CONTEXT>`));
    expect(names(child(own, 'CONTEXT'))).toEqual(['ETH0_IP', 'SET_HOSTNAME']);
  });

  const nic = `<NIC><NIC_ID>0</NIC_ID><NETWORK>net1</NETWORK><NETWORK_ID>4</NETWORK_ID><AR_ID>0</AR_ID>
    <IP>10.0.0.5</IP><MAC>02:00:0a:00:00:05</MAC><MODEL>virtio</MODEL><TARGET>one-8-0</TARGET></NIC>`;

  test('has no NICs unless asked', () => {
    expect(childrenOf(restore(vmWith(nic)), 'NIC')).toEqual([]);
  });

  test('keeps networks and addresses with same-addresses', () => {
    const [kept] = childrenOf(restore(vmWith(nic), { nics: 'same-addresses' }), 'NIC');
    expect(names(kept)).toEqual(['NETWORK_ID', 'IP', 'MAC', 'MODEL']);
  });

  test('keeps networks alone with new-addresses', () => {
    const [kept] = childrenOf(restore(vmWith(nic), { nics: 'new-addresses' }), 'NIC');
    expect(names(kept)).toEqual(['NETWORK_ID', 'MODEL']);
  });

  test('keeps a NIC that still chooses its network', () => {
    const auto = '<NIC><NETWORK_MODE>auto</NETWORK_MODE><NIC_ID>0</NIC_ID></NIC>';
    const [kept] = childrenOf(restore(vmWith(auto), { nics: 'same-addresses' }), 'NIC');
    expect(names(kept)).toEqual(['NETWORK_MODE']);
  });

  test('turns the memory of pinned NUMA nodes back into MiB', () => {
    const node =
      '<NUMA_NODE><TOTAL_CPUS>2</TOTAL_CPUS><MEMORY>524288</MEMORY><CPUS>1,2</CPUS></NUMA_NODE>';
    const pinned = restore(vmWith(`<TOPOLOGY><PIN_POLICY>CORE</PIN_POLICY></TOPOLOGY>${node}`));
    const [kept] = childrenOf(pinned, 'NUMA_NODE');
    expect(kept!.children.map(({ text }) => text)).toEqual(['2', '512']);
    const free = restore(vmWith(`<TOPOLOGY><PIN_POLICY>NONE</PIN_POLICY></TOPOLOGY>${node}`));
    expect(childrenOf(free, 'NUMA_NODE')).toEqual([]);
  });

  test('keeps scheduled actions that lie ahead or repeat, and drops past ones', () => {
    const action = (time: string, more = '') =>
      `<SCHED_ACTION><ID>1</ID><ACTION>terminate</ACTION><TIME>${time}</TIME>${more}</SCHED_ACTION>`;
    const vm = vmWith(
      '',
      `<SCHED_ACTIONS>${action('1700000000')}${action('1900000000')}${action('1700000000', '<REPEAT>0</REPEAT>')}${action('+60')}</SCHED_ACTIONS>`,
    );
    const kept = childrenOf(restore(vm), 'SCHED_ACTION');
    expect(kept.map((one) => childText(one, 'TIME'))).toEqual(['1900000000', '1700000000', '+60']);
    expect(names(kept[0])).toEqual(['ACTION', 'TIME']);
  });

  test('keeps the backup settings without the history of backups', () => {
    const vm = vmWith(
      '',
      '<BACKUPS><BACKUP_CONFIG><KEEP_LAST>3</KEEP_LAST><LAST_BACKUP_ID>9</LAST_BACKUP_ID></BACKUP_CONFIG></BACKUPS>',
    );
    expect(names(child(restore(vm), 'BACKUP_CONFIG'))).toEqual(['KEEP_LAST']);
  });

  test('carries every string of the user template unchanged', () => {
    const value = `it's "quoted" \\ $(id) \`id\`\n<&> 🐧`;
    const vm = parseVm(
      Buffer.from(`<VM><ID>8</ID><NAME>w</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/>
        <USER_TEMPLATE><NOTE><![CDATA[${value}]]></NOTE><ERROR>old</ERROR></USER_TEMPLATE></VM>`),
    );
    const template = restore(vm);
    expect(childText(template, 'NOTE')).toBe(value);
    expect(child(template, 'ERROR')).toBeUndefined();
  });
});
