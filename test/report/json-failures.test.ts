// --json prints one object for a failure, too; stderr says to a person what it said without.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeWorld, type World } from '../support/world.ts';

let world: World;

beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());

async function failure(args: readonly string[]) {
  const [plain, json] = [await world.run(args), await world.run([...args, '--json'])];
  expect(plain).toMatchObject({ code: json.code, stdout: '', stderr: json.stderr });
  expect(json.stdout).toMatch(/^\{.*\}\n$/);
  const { error } = JSON.parse(json.stdout) as { error: Record<string, unknown> };
  expect(error).toMatchObject({ exitCode: json.code });
  // The last line is the person's; the same text is in the object.
  expect(json.stderr.trimEnd().split('\n').at(-1)).toBe(error['message']);
  return error;
}

test('a VM that does not exist is reported as vm-not-found, with its id and the number of oned', async () => {
  const error = await failure(['export', '4711']);
  expect(error).toMatchObject({ code: 'vm-not-found', exitCode: 6, vmId: 4711, oneCode: 1024 });
});

test('a bundle that does not exist is reported as bundle-not-found, with its path', async () => {
  const bundle = join(world.folder, 'no-bundle.tar.gz');
  expect(await failure(['show', bundle])).toMatchObject({ code: 'bundle-not-found', bundle });
});

test('a file that is not a bundle is reported as bundle-damaged', async () => {
  const file = join(world.folder, 'text');
  await writeFile(file, 'this is not a bundle');
  expect(await failure(['verify', file])).toMatchObject({ code: 'bundle-damaged', exitCode: 5 });
});

test('a configuration file that is wrong is reported as wrong-configuration', async () => {
  const file = join(world.folder, 'wrong.conf');
  await writeFile(file, 'COMPRES = gzip\n');
  expect(await failure(['list', world.bundles, '--config', file])).toMatchObject({
    code: 'wrong-configuration',
    exitCode: 2,
  });
});

test.each([
  ['an unknown option', ['list', '--frobnicate', '/tmp']],
  ['no command', []],
])('%s is reported as wrong-usage, although the words cannot be parsed', async (_, args) => {
  expect(await failure(args)).toMatchObject({ code: 'wrong-usage', exitCode: 2 });
});

test('an OpenNebula that does not answer is reported as opennebula-unreachable', async () => {
  const error = await failure(['export', '8', '--endpoint', 'http://127.0.0.1:9/RPC2']);
  expect(error).toMatchObject({ code: 'opennebula-unreachable', exitCode: 6 });
});

test('credentials that are not those of a user are reported as not-authenticated', async () => {
  const file = join(world.folder, 'wrong-auth');
  await writeFile(file, 'oneadmin:wrong\n');
  const ended = await world.run(['export', '8', '--json'], { env: { ONE_AUTH: file } });
  expect(JSON.parse(ended.stdout)).toMatchObject({
    error: { code: 'not-authenticated', oneCode: 256 },
  });
});
