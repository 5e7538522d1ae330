import { describe, expect, test } from '@jest/globals';
import { child, childrenOf, childText } from '../../lib/xml/xml.ts';
import { names, restore, restoreAll, values, vmWith } from './template-of.ts';

const nic = (
  id: number,
  more = '',
  addresses = `<IP>10.0.0.${id}</IP><MAC>02:00:0a:00:00:0${id}</MAC>`,
) =>
  `<NIC><NIC_ID>${id}</NIC_ID><NETWORK>net1</NETWORK><NETWORK_ID>4</NETWORK_ID><AR_ID>0</AR_ID>
    <NAME>NIC${id}</NAME>${addresses}<MODEL>virtio</MODEL><TARGET>one-8-${id}</TARGET>${more}</NIC>`;
const alias = (id: number, parent: number, parentName = `NIC${parent}`) =>
  `<NIC_ALIAS><ALIAS_ID>0</ALIAS_ID><NIC_ID>${id}</NIC_ID><NETWORK_ID>4</NETWORK_ID><IP>10.0.0.9</IP><MAC>m</MAC>
    <NAME>NIC${parent}_ALIAS${id}</NAME><PARENT>${parentName}</PARENT><PARENT_ID>${parent}</PARENT_ID></NIC_ALIAS>`;
const same = { nics: 'same-addresses' } as const;

describe('NICs of the restored template', () => {
  test('the restored template has no NICs unless asked, PCI devices of TYPE NIC included', () => {
    const pci =
      '<PCI><TYPE>NIC</TYPE><CLASS>0200</CLASS><NETWORK_ID>4</NETWORK_ID><IP>10.0.0.5</IP></PCI>';
    expect(names(restore(vmWith(`${nic(0)}${alias(1, 0)}${pci}`)))).toEqual(['NAME', 'CPU']);
  });

  test('a restored NIC keeps its network and one address, as oned takes only one of IP, IP6 and MAC', () => {
    const kept = (addresses: string) =>
      values(child(restore(vmWith(nic(0, '', addresses)), same), 'NIC'));
    const mac = '<MAC>02:00:00:00:00:01</MAC>';
    const slaac =
      '<IP6_LINK>fe80::1</IP6_LINK><IP6_ULA>fd00::1</IP6_ULA><IP6_GLOBAL>2001:db8::1</IP6_GLOBAL>';
    const all = `<IP>10.0.0.5</IP><IP6>2001:db8::5</IP6>${mac}${slaac}`;
    expect(kept(all)).toEqual(['NETWORK_ID=4', 'IP=10.0.0.5', 'MODEL=virtio']);
    expect(kept(`<IP6>2001:db8::5</IP6>${mac}${slaac}`)).toEqual([
      'NETWORK_ID=4',
      'IP6=2001:db8::5',
      'MODEL=virtio',
    ]);
    expect(kept(`${mac}${slaac}`)).toEqual([
      'NETWORK_ID=4',
      'MAC=02:00:00:00:00:01',
      'MODEL=virtio',
    ]);
  });

  test('a restored alias and a PCI NIC keep one address, too', () => {
    const pci = `<PCI><PCI_ID>0</PCI_ID><TYPE>NIC</TYPE><VENDOR>8086</VENDOR><ADDRESS>0000:01:00:0</ADDRESS><NIC_ID>1</NIC_ID>
      <NETWORK_ID>5</NETWORK_ID><IP>10.1.0.5</IP><MAC>m</MAC><NAME>NIC1</NAME><BRIDGE>br0</BRIDGE><VM_ADDRESS>01:01.0</VM_ADDRESS></PCI>`;
    const template = restore(vmWith(`${nic(0)}${pci}${alias(2, 1)}`), same);
    expect(values(child(template, 'PCI'))).toEqual([
      'TYPE=NIC',
      'VENDOR=8086',
      'NETWORK_ID=5',
      'IP=10.1.0.5',
    ]);
    expect(values(child(template, 'NIC_ALIAS'))).toEqual([
      'NETWORK_ID=4',
      'IP=10.0.0.9',
      'PARENT=NIC1',
    ]);
  });

  test('a NIC that is restored with new addresses keeps its network alone', () => {
    const [kept] = childrenOf(restore(vmWith(nic(0)), { nics: 'new-addresses' }), 'NIC');
    expect(names(kept)).toEqual(['NETWORK_ID', 'MODEL']);
  });

  test('names of NICs that oned makes are left out, and aliases name their parent by its new number', () => {
    const template = restore(vmWith(`${nic(3)}${nic(5)}${alias(6, 5)}`), same);
    expect(childrenOf(template, 'NIC').map((one) => childText(one, 'NAME'))).toEqual([
      undefined,
      undefined,
    ]);
    expect(childText(child(template, 'NIC_ALIAS')!, 'PARENT')).toBe('NIC1');
    expect(childText(child(template, 'NIC_ALIAS')!, 'NAME')).toBeUndefined();
  });

  test('a name of a NIC that a user chose is kept, and aliases find it', () => {
    const named = nic(2).replace('<NAME>NIC2</NAME>', '<NAME>public</NAME>');
    const template = restore(vmWith(`${named}${alias(3, 2, 'public')}`), same);
    expect(childText(child(template, 'NIC')!, 'NAME')).toBe('public');
    expect(childText(child(template, 'NIC_ALIAS')!, 'PARENT')).toBe('public');
  });

  test('an alias whose NIC does not come back is left out with a warning', () => {
    const { xml, warnings } = restoreAll(vmWith(`${nic(0)}${alias(2, 1)}`), same);
    expect(child(xml, 'NIC_ALIAS')).toBeUndefined();
    expect(warnings).toEqual(['NIC alias 2 is left out: its NIC is not restored']);
  });

  test('a NIC that still waits for its network waits again', () => {
    const auto = '<NIC><NETWORK_MODE>auto</NETWORK_MODE><NIC_ID>0</NIC_ID></NIC>';
    expect(names(child(restore(vmWith(auto), same), 'NIC'))).toEqual(['NETWORK_MODE']);
  });

  test('a NIC for which the scheduler has chosen a network keeps that network', () => {
    const mode = '<NETWORK_MODE>auto</NETWORK_MODE><SCHED_REQUIREMENTS>X=1</SCHED_REQUIREMENTS>';
    expect(names(child(restore(vmWith(nic(0, mode)), same), 'NIC'))).toEqual([
      'NETWORK_ID',
      'IP',
      'MODEL',
    ]);
  });

  test('a NIC of a network known by its name alone keeps the name', () => {
    const byName =
      '<NIC><NIC_ID>0</NIC_ID><NETWORK>net1</NETWORK><NETWORK_UNAME>bob</NETWORK_UNAME></NIC>';
    expect(names(child(restore(vmWith(byName), same), 'NIC'))).toEqual([
      'NETWORK',
      'NETWORK_UNAME',
    ]);
  });

  test('what oned copies from a filtered network is left out, so that users can restore', () => {
    const filtered = `<FILTER_IP_SPOOFING>YES</FILTER_IP_SPOOFING><FILTER_MAC_SPOOFING>YES</FILTER_MAC_SPOOFING>
      <INBOUND_AVG_BW>100</INBOUND_AVG_BW><OUTBOUND_PEAK_KB>9</OUTBOUND_PEAK_KB><MTU>1400</MTU><VLAN_TAGGED_ID>3</VLAN_TAGGED_ID>
      <CONF>c</CONF><VXLAN_MODE>evpn</VXLAN_MODE><TRUST>on</TRUST><SHARED></SHARED><ORDER>1</ORDER>`;
    expect(names(child(restore(vmWith(nic(0, filtered)), same), 'NIC'))).toEqual([
      'NETWORK_ID',
      'IP',
      'MODEL',
    ]);
  });

  test('a NIC that comes into another network takes nothing of the old one along', () => {
    const guest =
      '<DNS>10.0.0.1</DNS><GATEWAY>10.0.0.1</GATEWAY><SECURITY_GROUPS>0,7</SECURITY_GROUPS>';
    const vm = vmWith(nic(0, guest));
    const { xml, warnings } = restoreAll(vm, { ...same, networks: new Map([[4, 11]]) });
    expect(values(child(xml, 'NIC'))).toEqual(['NETWORK_ID=11', 'IP=10.0.0.0', 'MODEL=virtio']);
    expect(warnings).toEqual([
      'NIC 0: the security groups 0,7 are left out; the NIC gets those of network 11',
    ]);
    const unchanged = restoreAll(vm, { ...same, networks: new Map([[4, 4]]) });
    expect(names(child(unchanged.xml, 'NIC'))).toEqual([
      'NETWORK_ID',
      'IP',
      'MODEL',
      'DNS',
      'GATEWAY',
      'SECURITY_GROUPS',
    ]);
    expect(unchanged.warnings).toEqual([]);
  });

  test('a NIC of a virtual router becomes an ordinary NIC', () => {
    const vrouter = `<FLOATING_IP>YES</FLOATING_IP><VROUTER_IP>10.0.0.100</VROUTER_IP><VROUTER_MAC>m</VROUTER_MAC>
      <VROUTER_IP6_GLOBAL>2001:db8::9</VROUTER_IP6_GLOBAL><VROUTER_MANAGEMENT>YES</VROUTER_MANAGEMENT>`;
    expect(names(child(restore(vmWith(nic(0, vrouter)), same), 'NIC'))).toEqual([
      'NETWORK_ID',
      'IP',
      'MODEL',
    ]);
  });

  test('a random MAC, which no network has, is not asked for again', () => {
    const vm = vmWith(nic(0, '<SHARED>YES</SHARED>', '<MAC>02:00:00:00:00:01</MAC>'));
    const { xml, warnings } = restoreAll(vm, same);
    expect(names(child(xml, 'NIC'))).toEqual(['NETWORK_ID', 'MODEL']);
    expect(warnings).toEqual([
      'NIC 0 gets a new MAC: the old one, 02:00:00:00:00:01, does not belong to a network',
    ]);
  });
});
