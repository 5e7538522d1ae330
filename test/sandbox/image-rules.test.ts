import { afterEach, expect, test } from '@jest/globals';
import { call, mustCall } from './call.ts';
import { startRules } from './rules.ts';
import type { Rules } from './rules.ts';

let rules: Rules;

afterEach(async () => {
  await rules.stop();
});

test.each([
  ['6.4.7', true, false],
  ['6.4.7', false, true],
  ['6.8.2', true, false],
  ['6.8.3', true, true],
  ['7.4.0', true, true],
  ['7.4.0', false, false],
])(
  'OpenNebula %s, told %s as the fourth argument, takes an image that is too large: %s',
  async (version, flag, taken) => {
    rules = await startRules(version);
    const text = 'NAME=huge\nTYPE=DATABLOCK\nFORMAT=qcow2\nSIZE=999999999';
    const { ok, value } = await call(rules.sandbox, 'one.image.allocate', text, 101, flag);
    expect(ok).toBe(taken);
    if (!taken) expect(value).toBe('[one.image.allocate] Not enough space in datastore');
  },
);

test('an ordinary user cannot have the capacity of a datastore ignored', async () => {
  rules = await startRules();
  const as = {
    endpoint: rules.sandbox.endpoint,
    authFile: await rules.sandbox.addUser('bob'),
  };
  const text = 'NAME=huge\nTYPE=DATABLOCK\nFORMAT=qcow2\nSIZE=999999999';
  expect((await call(as, 'one.image.allocate', text, 101, true)).value).toBe(
    '[one.image.allocate] Not enough space in datastore',
  );
});

test('an image that is still being made is deleted only with force, and force needs ADMIN', async () => {
  rules = await startRules();
  rules.sandbox.imageCopyMs = 60_000;
  const bob = {
    endpoint: rules.sandbox.endpoint,
    authFile: await rules.sandbox.addUser('bob'),
  };
  const id = Number(await mustCall(bob, 'one.image.allocate', 'NAME=a\nTYPE=OS\nSIZE=1', 1));
  const locked = {
    value:
      '[one.image.delete] Image locked, use --force flag to remove the image. Force delete may leave some files on Datastore',
    code: 8192,
  };
  expect(await call(bob, 'one.image.delete', id)).toMatchObject(locked);
  expect(await call(rules.sandbox, 'one.image.delete', id)).toMatchObject(locked);
  expect((await call(bob, 'one.image.delete', id, true)).value).toContain(
    `Not authorized to perform ADMIN IMAGE [${id}]`,
  );
  expect((await call(rules.sandbox, 'one.image.delete', id, true)).ok).toBe(true);
});

test('OpenNebula 6.4 deletes an image that is still being made', async () => {
  rules = await startRules('6.4.7');
  rules.sandbox.imageCopyMs = 60_000;
  const text = 'NAME=a\nTYPE=OS\nSIZE=1';
  const id = Number(await mustCall(rules.sandbox, 'one.image.allocate', text, 1));
  expect((await call(rules.sandbox, 'one.image.delete', id)).ok).toBe(true);
});

test('a files datastore takes kernels and files, but no disks', async () => {
  rules = await startRules();
  const allocate = async (type: string, datastore: number): Promise<string> =>
    (
      await call(
        rules.sandbox,
        'one.image.allocate',
        `NAME=f\nTYPE=${type}\nPATH="${rules.file}"`,
        datastore,
      )
    ).value;
  expect(await allocate('OS', 2)).toContain(
    'Only IMAGES of type KERNEL, RAMDISK and CONTEXT can be registered in a FILE_DS datastore',
  );
  expect(await allocate('KERNEL', 1)).toContain('cannot be registered in an IMAGE_DS datastore');
  expect(await allocate('KERNEL', 2)).toMatch(/^\d+$/);
});

test.each([
  ['128 bytes is taken', 'a'.repeat(128), true],
  ['129 bytes is refused', 'a'.repeat(129), false],
  ['65 letters of two bytes is refused', 'ä'.repeat(65), false],
  ['a slash is refused', 'a/b', false],
  ['a dot is taken', 'a.b', true],
])('a name of an image with %s', async (_, name, ok) => {
  rules = await startRules();
  const text = `NAME="${name}"\nTYPE=DATABLOCK\nSIZE=1`;
  expect((await call(rules.sandbox, 'one.image.allocate', text, 1)).ok).toBe(ok);
  expect((await call(rules.sandbox, 'one.template.allocate', `NAME="${name}"`)).ok).toBe(ok);
});
