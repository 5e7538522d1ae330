import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { call, mustCall } from './call.ts';
import type { Quotas } from './quotas.ts';
import { startRules } from './rules.ts';
import type { Rules } from './rules.ts';

let rules: Rules;
let bob: string;
let image: number;
let refusal: string;

beforeEach(async () => {
  rules = await startRules();
  bob = await rules.sandbox.addUser('bob');
  image = await rules.sandbox.makeImage({
    name: 'os',
    file: rules.file,
    format: 'raw',
    owner: 'bob',
  });
  const uid = rules.sandbox.world.users.byName('bob')?.id ?? -1;
  refusal = `User [${uid}] : user [${uid}] limit of `;
});

afterEach(async () => {
  await rules.stop();
});

test.each<[string, Quotas, string]>([
  ['VMs', { vm: { VMS: 1 } }, '1 reached for VMS quota in VM.'],
  ['CPU', { vm: { CPU: 1.5 } }, '1.5 reached for CPU quota in VM.'],
  ['memory', { vm: { MEMORY: 100 } }, '100 reached for MEMORY quota in VM.'],
  [
    'system disks',
    { vm: { SYSTEM_DISK_SIZE: 21 } },
    '21 reached for SYSTEM_DISK_SIZE quota in VM.',
  ],
  [
    'leases',
    { network: { 0: { LEASES: 1 } } },
    '1 reached for LEASES quota in NETWORK with ID: 0.',
  ],
  [
    'VMs of an image',
    { image: { 1: { RVMS: 1 } } },
    '1 reached for RVMS quota in IMAGE with ID: 1.',
  ],
])('the quota of %s is held against what the VMs of the user have', async (_, quotas, words) => {
  expect(image).toBe(1);
  rules.sandbox.setQuotas('bob', quotas);
  const template =
    `NIC=[NETWORK=net1,NETWORK_UNAME=oneadmin]\n` +
    `DISK=[IMAGE=os]\nDISK=[TYPE=fs,SIZE=10,FORMAT=raw]`;
  const first = await rules.instantiate(template, bob);
  expect(first).toMatch(/^\d+$/);
  expect(await rules.instantiate(template, bob)).toBe(
    `[one.template.instantiate] ${refusal}${words}`,
  );
  const as = { endpoint: rules.sandbox.endpoint, authFile: bob };
  await mustCall(as, 'one.vm.action', 'terminate', Number(first));
  await rules.sandbox.settle();
  expect(await rules.instantiate(template, bob)).toMatch(/^\d+$/);
});

test('a VM that is off does not count as running', async () => {
  rules.sandbox.setQuotas('bob', { vm: { RUNNING_VMS: 1 } });
  const id = Number(await rules.instantiate('', bob));
  expect(await rules.instantiate('', bob)).toContain('1 reached for RUNNING_VMS quota in VM.');
  rules.sandbox.powerOff(id);
  expect(await rules.instantiate('', bob)).toMatch(/^\d+$/);
});

test.each<[string, Quotas, string]>([
  ['images', { datastore: { 1: { IMAGES: 1 } } }, '1 reached for IMAGES'],
  ['size', { datastore: { 1: { SIZE: 3 } } }, '3 reached for SIZE'],
])(
  'the quota of %s in a datastore is held against the images of the user',
  async (_, quotas, words) => {
    rules.sandbox.setQuotas('bob', quotas);
    const as = { endpoint: rules.sandbox.endpoint, authFile: bob };
    const text = 'NAME=more\nTYPE=DATABLOCK\nSIZE=3';
    expect(await call(as, 'one.image.allocate', text, 1)).toEqual({
      ok: false,
      value: `[one.image.allocate] ${refusal}${words} quota in DATASTORE with ID: 1.`,
      code: 512,
    });
    expect((await call(as, 'one.image.allocate', text, 101)).ok).toBe(true);
  },
);

test('oneadmin has no quotas', async () => {
  rules.sandbox.setQuotas('oneadmin', { vm: { VMS: 0 } });
  expect(await rules.instantiate('')).toMatch(/^\d+$/);
});

test('a user sees the limits of the quotas and what is used of them', async () => {
  rules.sandbox.setQuotas('bob', { vm: { VMS: 3 }, datastore: { 101: { SIZE: 9 } } });
  await rules.instantiate('NIC=[NETWORK=net1,NETWORK_UNAME=oneadmin]', bob);
  const as = { endpoint: rules.sandbox.endpoint, authFile: bob };
  const xml = await mustCall(as, 'one.user.info', -1);
  expect(xml).toContain(
    '<DATASTORE><ID><![CDATA[1]]></ID><IMAGES><![CDATA[-1]]></IMAGES><IMAGES_USED><![CDATA[1]]></IMAGES_USED>',
  );
  expect(xml).toContain('<SIZE><![CDATA[9]]></SIZE><SIZE_USED><![CDATA[0]]></SIZE_USED>');
  expect(xml).toContain('<VMS><![CDATA[3]]></VMS><VMS_USED><![CDATA[1]]></VMS_USED>');
  expect(xml).toContain('<LEASES_USED><![CDATA[1]]></LEASES_USED>');
});
