import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mustCall } from './call.ts';
import { cannotMake, startRules } from './rules.ts';
import type { Rules } from './rules.ts';

let rules: Rules;

beforeEach(async () => {
  rules = await startRules();
});

afterEach(async () => {
  await rules.stop();
});

const noLease = `${cannotMake}Cannot get IP/MAC lease from virtual network 0.`;

test.each([
  ['IP and MAC', 'NIC=[NETWORK_ID=0,IP=10.9.0.20,MAC="02:00:0a:09:00:14"]'],
  ['IP and IP6', 'NIC=[NETWORK_ID=0,IP=10.9.0.20,IP6="2001:db8::1"]'],
  ['an IP outside of the range', 'NIC=[NETWORK_ID=0,IP=10.9.0.9]'],
  ['a MAC outside of the range', 'NIC=[NETWORK_ID=0,MAC="02:00:0a:09:01:14"]'],
  ['an IP6 in a range that has none', 'NIC=[NETWORK_ID=0,IP6="2001:db8::1"]'],
  ['the IP of another NIC', 'NIC=[NETWORK_ID=0,IP=10.9.0.20]\nNIC=[NETWORK_ID=0,IP=10.9.0.20]'],
  [
    'IP and MAC of an alias',
    'NIC=[NETWORK_ID=0]\nNIC_ALIAS=[NETWORK_ID=0,PARENT=NIC0,IP=10.9.0.20,MAC="02:00:0a:09:00:14"]',
  ],
  [
    'IP and MAC of a NIC that is passed through',
    'PCI=[TYPE=NIC,VENDOR=8086,NETWORK_ID=0,IP=10.9.0.20,MAC="02:00:0a:09:00:14"]',
  ],
])('a VM is refused a lease when its template asks for %s', async (_, nic) => {
  expect(await rules.instantiate(nic)).toBe(noLease);
});

test.each([
  ['an IP', 'IP=10.9.0.20'],
  ['a MAC', 'MAC="02:00:0a:09:00:14"'],
])('a NIC that names %s alone gets both addresses', async (_, address) => {
  const { template } = await rules.make(`NIC=[NETWORK_ID=0,${address}]`);
  const [nic] = template.vectors('NIC');
  expect([nic?.get('IP'), nic?.get('MAC')]).toEqual(['10.9.0.20', '02:00:0a:09:00:14']);
});

test('an address is taken while the VM that has it lives, and free once the VM is terminated', async () => {
  const first = await rules.make('NIC=[NETWORK_ID=0,IP=10.9.0.20]');
  expect(await rules.instantiate('NIC=[NETWORK_ID=0,IP=10.9.0.20]')).toBe(noLease);
  await mustCall(rules.sandbox, 'one.vm.action', 'terminate', first.id);
  await rules.sandbox.settle();
  expect(await rules.instantiate('NIC=[NETWORK_ID=0,IP=10.9.0.20]')).toMatch(/^\d+$/);
});

test('an address is not held by a VM that could not be made', async () => {
  const two = 'NIC=[NETWORK_ID=0,IP=10.9.0.20]\nNIC=[NETWORK_ID=0,IP=10.9.0.9]';
  expect(await rules.instantiate(two)).toBe(noLease);
  expect(await rules.instantiate('NIC=[NETWORK_ID=0,IP=10.9.0.20]')).toMatch(/^\d+$/);
});

test('a NIC gets IPv6 addresses made of its MAC in a range with prefixes', async () => {
  const id = rules.sandbox.addNetwork({
    name: 'six',
    ranges: [{ id: 0, type: 'IP4_6', ip: '10.8.0.1', size: 10, globalPrefix: '2001:db8:0:1' }],
  });
  const { template } = await rules.make(`NIC=[NETWORK_ID=${id}]`);
  expect(Object.fromEntries(template.vectors('NIC')[0] ?? [])).toMatchObject({
    IP: '10.8.0.1',
    IP6_LINK: 'fe80::aff:fe08:1',
    IP6_GLOBAL: '2001:db8:0:1:0:aff:fe08:1',
  });
});

test('a NIC can ask for an IP6 of a static range', async () => {
  const id = rules.sandbox.addNetwork({
    name: 'six',
    ranges: [
      { id: 0, type: 'IP6_STATIC', ip6: '2001:db8::10', mac: '02:00:00:00:00:10', size: 16 },
    ],
  });
  const { template } = await rules.make(`NIC=[NETWORK_ID=${id},IP6="2001:db8::1f"]`);
  expect(template.vectors('NIC')[0]?.get('MAC')).toBe('02:00:00:00:00:1f');
  const more = await rules.instantiate(`NIC=[NETWORK_ID=${id},IP6="2001:db8::20"]`);
  expect(more).toContain('Cannot get IP/MAC lease');
});

test('a network shows the leases of its VMs', async () => {
  const { id } = await rules.make('NIC=[NETWORK_ID=0,IP=10.9.0.20]');
  const network = await mustCall(rules.sandbox, 'one.vn.info', 0);
  expect(network).toContain('<USED_LEASES>1</USED_LEASES>');
  expect(network).toContain(
    `<IP><![CDATA[10.9.0.20]]></IP><MAC><![CDATA[02:00:0a:09:00:14]]></MAC><VM><![CDATA[${id}]]></VM>`,
  );
});

test('a network hands down its filters and its MTU, and a NIC keeps what it has itself', async () => {
  const attributes = { FILTER_IP_SPOOFING: 'YES', MTU: '1400', COLOUR: 'red' };
  const ranges = [{ id: 0, type: 'IP4', ip: '10.8.0.1', size: 10 } as const];
  const id = rules.sandbox.addNetwork({ name: 'filtered', ranges, attributes, vlanId: '12' });
  const { template } = await rules.make(`NIC=[NETWORK_ID=${id},MTU=1300]`);
  const nic = Object.fromEntries(template.vectors('NIC')[0] ?? []);
  expect(nic).toMatchObject({ FILTER_IP_SPOOFING: 'YES', MTU: '1300', VLAN_ID: '12' });
  expect(nic).not.toHaveProperty('COLOUR');
});

test('a network is looked up by name among those of the user, unless the NIC names the owner', async () => {
  const bob = await rules.sandbox.addUser('bob');
  const uid = rules.sandbox.world.users.byName('bob')?.id;
  expect(await rules.instantiate('NIC=[NETWORK=net1]', bob)).toBe(
    `${cannotMake}User ${uid} does not own a network with name: net1 . Set NETWORK_UNAME or NETWORK_UID of owner in NIC.`,
  );
  const named = 'NIC=[NETWORK=net1,NETWORK_UNAME=oneadmin]';
  expect(await rules.instantiate(named, bob)).toMatch(/^\d+$/);
});

test('a NIC of a network that does not exist is refused', async () => {
  const reason = 'Virtual network with ID: 7 does not exist';
  expect(await rules.instantiate('NIC=[NETWORK_ID=7]')).toBe(cannotMake + reason);
});

test('a NIC named like those that oned names gets an underscore in front', async () => {
  const { template } = await rules.make(
    'NIC=[NETWORK_ID=0,NAME=NIC0]\nNIC=[NETWORK_ID=0]\nNIC=[NETWORK_ID=0,NAME=lan]',
  );
  expect(template.vectors('NIC').map((nic) => nic.get('NAME'))).toEqual(['_NIC0', 'NIC1', 'lan']);
});

test('an alias does not find a parent whose name got an underscore', async () => {
  const both = 'NIC=[NETWORK_ID=0,NAME=NIC0]\nNIC_ALIAS=[NETWORK_ID=0,PARENT=NIC0]';
  expect(await rules.instantiate(both)).toBe(`${cannotMake}NIC named NIC0 not found for alias`);
});

test('an alias finds its parent by the name that oned gives, and is counted behind all NICs', async () => {
  const { template } = await rules.make(
    'NIC_ALIAS=[NETWORK_ID=0,PARENT=NIC1]\nNIC=[NETWORK_ID=0]\nNIC=[NETWORK_ID=0]',
  );
  const alias = Object.fromEntries(template.vectors('NIC_ALIAS')[0] ?? []);
  expect(alias).toMatchObject({
    NIC_ID: '2',
    NAME: 'NIC1_ALIAS2',
    PARENT_ID: '1',
    ALIAS_ID: '0',
  });
  expect(template.vectors('NIC')[1]?.get('ALIAS_IDS')).toBe('2');
});

test('a NIC of NETWORK_MODE auto waits for the scheduler and takes no address', async () => {
  const { template } = await rules.make('NIC=[NETWORK_MODE=auto]');
  expect(Object.fromEntries(template.vectors('NIC')[0] ?? [])).toEqual({
    NAME: 'NIC0',
    NETWORK_MODE: 'auto',
    NIC_ID: '0',
  });
});

test('an alias cannot have NETWORK_MODE auto', async () => {
  const both = 'NIC=[NETWORK_ID=0]\nNIC_ALIAS=[NETWORK_MODE=auto,PARENT=NIC0]';
  expect(await rules.instantiate(both)).toBe(`${cannotMake}Alias is incompatible with auto mode`);
});

test('NIC_DEFAULT fills in what a NIC does not have, and may not name a network', async () => {
  const { template } = await rules.make('NIC_DEFAULT=[MODEL=virtio]\nNIC=[NETWORK_ID=0]');
  expect(template.vectors('NIC')[0]?.get('MODEL')).toBe('virtio');
  expect(await rules.instantiate('NIC_DEFAULT=[NETWORK=net1]')).toBe(
    `${cannotMake}Attribute NETWORK is not allowed inside NIC_DEFAULT.`,
  );
});
