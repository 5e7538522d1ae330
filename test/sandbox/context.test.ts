import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { cannotMake, startRules } from './rules.ts';
import type { Rules } from './rules.ts';

let rules: Rules;

beforeEach(async () => {
  rules = await startRules();
});

afterEach(async () => {
  await rules.stop();
});

async function context(template: string): Promise<ReadonlyMap<string, string>> {
  return (await rules.make(template)).template.vectors('CONTEXT')[0] ?? new Map<string, string>();
}

test.each([
  ['a user attribute', '$COLOUR', 'red'],
  ['an attribute in lower case', '$colour', 'red'],
  ['the name of the owner', '$UNAME', 'oneadmin'],
  ['an attribute that does not exist', 'a$NOTHING b', 'a b'],
  ['two variables in a row', '$COLOUR$UNAME', 'redoneadmin'],
  ['a variable with a dot behind it', '$COLOUR.txt', 'red.txt'],
  ['an attribute of a vector', '$OS[ARCH]', 'x86_64'],
  ['an attribute of one vector of several', '$DISK[IMAGE, DISK_ID="1"]', 'os2'],
  ['an attribute of the owner', '$USER[SSH_PUBLIC_KEY]', 'ssh-rsa AAAA'],
  ['an attribute of an image', '$IMAGE[DEV_PREFIX, IMAGE_ID="0"]', 'sd'],
  ['a dollar behind a backslash, which stays', 'a\\$COLOUR', 'a\\$COLOUR'],
  ['two backslashes in front of a variable', 'a\\\\$COLOUR', 'a\\\\red'],
  ['a newline behind a variable, which is lost', '$COLOUR\n', 'red'],
])('CONTEXT is filled in with %s', async (_, value, filled) => {
  await rules.sandbox.makeImage({ name: 'os2', file: rules.file, format: 'raw' });
  rules.sandbox.world.users.byName('oneadmin')?.template.add('SSH_PUBLIC_KEY', 'ssh-rsa AAAA');
  const disks = 'DISK=[IMAGE=os]\nDISK=[IMAGE=os2]';
  const quoted = value.replaceAll('"', '\\"');
  const made = await context(`COLOUR=red\nOS=[ARCH=x86_64]\n${disks}\nCONTEXT=[VALUE="${quoted}"]`);
  expect(made.get('VALUE')).toBe(filled);
});

test.each([
  ['a bare dollar', 'costs 5$ or so', 'unexpected EOA, expecting $end or VARIABLE or RSTRING'],
  ['two dollars', '$$', 'unexpected EOA, expecting $end or VARIABLE or RSTRING'],
  ['a variable that a second word follows on the next line', '$A\nb', 'unexpected VARIABLE'],
  ['a bracket that is not closed', '$OS[ARCH', 'unexpected EOA, expecting COMMA or CBRACKET'],
])('CONTEXT with %s is refused with a syntax error', async (_, value, error) => {
  const answer = await rules.instantiate(`CONTEXT=[VALUE="${value}"]`);
  expect(answer).toContain(`${cannotMake}Error parsing: DISK_ID=0@^_^@`);
  expect(answer).toContain(`syntax error, ${error}`);
});

test('a NIC and its alias get variables in CONTEXT from themselves, their range and their network', async () => {
  const id = rules.sandbox.addNetwork({
    name: 'lan',
    attributes: { GATEWAY: '10.8.0.254', NETWORK_MASK: '255.255.255.0' },
    ranges: [
      { id: 0, type: 'IP4', ip: '10.8.0.1', size: 9, attributes: { NETWORK_MASK: '255.0.0.0' } },
    ],
  });
  const made = await context(
    `CONTEXT=[NETWORK=YES]\nNIC=[NETWORK_ID=${id}]\nNIC_ALIAS=[NETWORK_ID=${id},PARENT=NIC0]`,
  );
  expect(Object.fromEntries(made)).toMatchObject({
    ETH0_IP: '10.8.0.1',
    ETH0_MASK: '255.0.0.0',
    ETH0_GATEWAY: '10.8.0.254',
    ETH0_ALIAS0_IP: '10.8.0.2',
    ETH0_ALIAS0_GATEWAY: '10.8.0.254',
  });
});

async function file(type: 'CONTEXT' | 'KERNEL' | 'OS'): Promise<number> {
  const where = type === 'OS' ? {} : { datastore: 2 };
  return rules.sandbox.makeImage({
    ...{ name: `my ${type}`, file: rules.file, format: 'raw', type },
    ...where,
  });
}

test('FILES_DS becomes the paths and the names of the files', async () => {
  const id = await file('CONTEXT');
  const { source } = rules.sandbox.world.images.get(id)!;
  const both = `$FILE[IMAGE_ID=${id}] $FILE[IMAGE=\\"my CONTEXT\\", IMAGE_UNAME=oneadmin]`;
  const made = await context(`CONTEXT=[FILES_DS="${both}"]`);
  expect(made.get('FILES_DS')).toBe(`${source}:'my CONTEXT' ${source}:'my CONTEXT' `);
});

test.each([
  [
    'paths as oned wrote them',
    "/var/lib/one/datastores/2/abc:'motd' ",
    'syntax error, unexpected RSTRING, expecting VARIABLE at line 0, columns 1:38',
  ],
  ['two blanks between files', '$FILE[IMAGE=init]  $FILE[IMAGE=init]', 'does not own an image'],
  ['another variable', '$DISK[IMAGE_ID=0]', 'Must use FILE variable for attribute.'],
  ['a file that does not exist', '$FILE[IMAGE_ID=77]', 'Image with ID: 77 does not exist'],
  ['a file by another attribute', '$FILE[PATH=x]', 'Cannot get image, set IMAGE_ID or IMAGE.'],
])('FILES_DS with %s is refused', async (_, files, reason) => {
  const answer = await rules.instantiate(`CONTEXT=[FILES_DS="${files}"]`);
  expect(answer).toContain(`${cannotMake}Error parsing: ${files}. `);
  expect(answer).toContain(reason);
});

test('FILES_DS with an image of a disk is refused', async () => {
  const answer = await rules.instantiate(`CONTEXT=[FILES_DS="$FILE[IMAGE_ID=${rules.image}]"]`);
  expect(answer).toBe(`${cannotMake}Only images of type CONTEXT can be used in FILE_DS attribute.`);
});

test('KERNEL_DS of the template becomes id, source and datastore of the kernel', async () => {
  const id = await file('KERNEL');
  const { template } = await rules.make(`OS=[KERNEL_DS="$FILE[IMAGE_ID=${id}]"]`);
  expect(Object.fromEntries(template.vectors('OS')[0] ?? [])).toMatchObject({
    KERNEL_DS_ID: String(id),
    KERNEL_DS_DSID: '2',
    KERNEL_DS_TM: 'ssh',
  });
});

test('KERNEL_DS with an image of another type is refused', async () => {
  const id = await file('CONTEXT');
  expect(await rules.instantiate(`OS=[KERNEL_DS="$FILE[IMAGE_ID=${id}]"]`)).toBe(
    `${cannotMake}KERNEL needs an image of type KERNEL and not CONTEXT`,
  );
});

test('a VM of a virtual router gets its keepalived settings into TEMPLATE and CONTEXT', async () => {
  const { template, userTemplate } = await rules.make('VROUTER_KEEPALIVED_ID=7\nCONTEXT=[A=b]');
  expect(template.get('VROUTER_KEEPALIVED_ID')).toBe('7');
  expect(template.vectors('CONTEXT')[0]?.get('VROUTER_KEEPALIVED_ID')).toBe('7');
  expect(userTemplate.get('VROUTER_KEEPALIVED_ID')).toBeUndefined();
});

test('SCHED_REQUIREMENTS of a VM is filled in like CONTEXT', async () => {
  const { userTemplate } = await rules.make('COLOUR=red\nSCHED_REQUIREMENTS="NAME=$COLOUR"');
  expect(userTemplate.get('SCHED_REQUIREMENTS')).toBe('NAME=red');
  expect(await rules.instantiate('SCHED_REQUIREMENTS="$$"')).toContain('Error parsing: $$. ');
});
