import { afterEach, expect, test } from '@jest/globals';
import { call, mustCall } from './call.ts';
import { restrictedList, changedRestricted, firstRestricted } from './restricted.ts';
import { Release } from './release.ts';
import { startRules } from './rules.ts';
import type { Rules } from './rules.ts';
import { parseTemplate } from './template-text.ts';

let rules: Rules;
let bob: { endpoint: string; authFile: string };
let uid: number;

async function start(version?: string): Promise<void> {
  rules = await startRules(version);
  const authFile = await rules.sandbox.addUser('bob');
  bob = { endpoint: rules.sandbox.endpoint, authFile };
  uid = rules.sandbox.world.users.byName('bob')?.id ?? -1;
}

afterEach(async () => {
  await rules.stop();
});

test.each([
  ['6.10.5', 'NIC=[NETWORK_ID=0,MAC="02:00:0a:09:00:14"]', 'MAC'],
  ['6.10.5', 'NIC=[NETWORK_ID=0,FILTER_IP_SPOOFING=NO]', 'FILTER_IP_SPOOFING'],
  ['6.10.5', 'NIC_ALIAS=[PARENT=NIC0,MAC="02:00:0a:09:00:14"]', 'MAC'],
  ['6.10.5', 'TOPOLOGY=[PIN_POLICY=NONE]', 'PIN_POLICY'],
  ['6.10.5', 'CONTEXT=[FILES="/etc/passwd"]', 'FILES'],
  ['6.10.5', 'DISK=[IMAGE_ID=0,ORIGINAL_SIZE=1]', 'ORIGINAL_SIZE'],
  ['6.10.5', 'RAW=[TYPE=kvm,DATA="<x/>"]', 'DATA'],
  ['6.10.5', 'EMULATOR=/bin/sh', 'EMULATOR'],
  ['6.10.5', 'VCENTER_ESX_HOST=a', 'VCENTER_ESX_HOST'],
  ['7.4.0', 'NIC=[NETWORK_ID=0,VLAN_TAGGED_ID=7]', 'VLAN_TAGGED_ID'],
])('OpenNebula %s refuses %s in the template of an ordinary user', async (version, text, name) => {
  await start(version);
  const { value, code } = await call(bob, 'one.template.allocate', `NAME=a\n${text}`);
  expect([value, code]).toEqual([
    `[one.template.allocate] User [${uid}] : VM Template includes a restricted attribute ${name}.`,
    512,
  ]);
});

test.each([
  ['6.10.5', 'NIC=[NETWORK_ID=0,VLAN_TAGGED_ID=7]'],
  ['7.4.0', 'VCENTER_ESX_HOST=a'],
  ['6.10.5', 'NIC=[NETWORK_ID=0,MTU=1400]'],
  // oned looks for a single attribute of this name only.
  ['6.10.5', 'PCI=[VENDOR=10de]'],
  ['6.4.7', 'RAW=[TYPE=kvm,DATA="<x/>"]'],
])('OpenNebula %s takes %s in the template of an ordinary user', async (version, text) => {
  await start(version);
  expect(await call(bob, 'one.template.allocate', `NAME=a\n${text}`)).toMatchObject({ ok: true });
});

test('an administrator may write restricted attributes into a template', async () => {
  await start();
  const text = 'NAME=a\nNIC=[NETWORK_ID=0,MAC="02:00:0a:09:00:14"]\nEMULATOR=/bin/sh';
  expect(await mustCall(rules.sandbox, 'one.template.allocate', text)).toBe('0');
});

test('what an ordinary user merges at instantiate may not change restricted attributes', async () => {
  await start();
  const merge = (extra: string): Promise<string> =>
    rules.instantiate('NIC=[NETWORK_ID=0]', bob.authFile, extra);
  expect(await merge('NIC=[NETWORK_ID=0,MAC="02:00:0a:09:00:14"]')).toBe(
    `[one.template.instantiate] User [${uid}] : User Template includes a restricted attribute NIC.`,
  );
  expect(await merge('NIC=[NETWORK_ID=0,IP=10.9.0.20]')).toMatch(/^\d+$/);
});

test('an ordinary user cannot change the restricted attributes of a template by an update', async () => {
  await start();
  const id = Number(await mustCall(bob, 'one.template.allocate', 'NAME=a\nNIC=[NETWORK_ID=0]'));
  const nic = 'NIC=[NETWORK_ID=0,MAC="02:00:0a:09:00:14"]';
  const update = async (text: string, type: number): Promise<string> =>
    (await call(bob, 'one.template.update', id, text, type)).value;
  const refusal = '[one.template.update] Cannot update template. ';
  expect(await update(nic, 0)).toBe(`${refusal}Tried to change restricted attribute: NIC`);
  expect(await update(nic, 1)).toBe(`${refusal}User Template includes a restricted attribute NIC`);
  await mustCall(rules.sandbox, 'one.template.update', id, nic, 0);
  expect(await update(`${nic}\nCOLOUR=red`, 0)).toBe(String(id));
});

test('a restricted attribute that an update does not name stays in the template', async () => {
  await start();
  const id = Number(await mustCall(bob, 'one.template.allocate', 'NAME=a\nCOLOUR=red'));
  await mustCall(rules.sandbox, 'one.template.update', id, 'USER_PRIORITY=3', 1);
  await mustCall(bob, 'one.template.update', id, 'COLOUR=blue', 0);
  const xml = await mustCall(bob, 'one.template.info', id);
  expect(xml).toContain('<USER_PRIORITY><![CDATA[3]]></USER_PRIORITY>');
});

test.each([
  ['6.4.7', undefined],
  ['6.10.5', 'NIC'],
])('dropping a restricted vector in an update of OpenNebula %s gives %s', (version, found) => {
  const list = restrictedList(['NIC/MAC']);
  const base = parseTemplate('NIC=[MAC=a]');
  const change = { base, append: false, release: new Release(version) };
  expect(changedRestricted(parseTemplate('A=b'), list, change)).toBe(found);
});

test('an image of an ordinary user cannot name a SOURCE', async () => {
  await start();
  const text = 'NAME=a\nTYPE=DATABLOCK\nSIZE=1\nSOURCE=/etc/passwd\nFORMAT=raw';
  expect((await call(bob, 'one.image.allocate', text, 1)).value).toBe(
    `[one.image.allocate] User [${uid}] : Template includes a restricted attribute SOURCE.`,
  );
});

test('an ordinary user cannot make a VM of an image that he may not use', async () => {
  await start();
  expect(await rules.instantiate(`DISK=[IMAGE_ID=${rules.image}]`, bob.authFile)).toBe(
    `[one.template.instantiate] User [${uid}] : Not authorized to perform USE IMAGE [${rules.image}].`,
  );
});

test('the configuration of oned names the restricted attributes of its release', async () => {
  await start('7.4.0');
  const xml = await mustCall(bob, 'one.system.config');
  expect(xml).toContain('<VM_RESTRICTED_ATTR><![CDATA[NIC/VLAN_TAGGED_ID]]></VM_RESTRICTED_ATTR>');
  expect(xml).not.toContain('VCENTER');
  expect(xml).toContain('<IMAGE_RESTRICTED_ATTR><![CDATA[SOURCE]]></IMAGE_RESTRICTED_ATTR>');
  expect(await mustCall(bob, 'one.system.version')).toBe('7.4.0');
});

test('OpenNebula 6.4 tells its configuration to administrators only', async () => {
  await start('6.4.7');
  expect((await call(bob, 'one.system.config')).value).toBe(
    `[one.system.config] User [${uid}] : The oned configuration can only be retrieved by users in the oneadmin group.`,
  );
  expect(await mustCall(rules.sandbox, 'one.system.config')).toContain('[RAW]');
});

test('the first restricted attribute is the first one by name, as oned keeps its list', async () => {
  await start();
  const list = restrictedList(['NIC/MAC', 'NIC/BRIDGE', 'CONTEXT/FILES']);
  const template = parseTemplate('NIC=[MAC=a,BRIDGE=b]\nCONTEXT=[FILES=c]');
  expect(firstRestricted(template, list)).toBe('FILES');
  template.erase('CONTEXT');
  expect(firstRestricted(template, list)).toBe('BRIDGE');
});
