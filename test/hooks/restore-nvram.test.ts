// The hook that puts UEFI variables into place, as the hook manager runs it.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { runToEnd } from '../support/shell.ts';
import { fileVm } from '../support/file-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

const hook = new URL('../../dist/hooks/restore_nvram', import.meta.url).pathname;
const nvram = Buffer.concat([randomBytes(5000), Buffer.alloc(300_000, 0xff)]);
const carried = gzipSync(nvram).toString('base64');

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());

interface Wish {
  readonly text?: string;
  readonly name?: string;
  readonly os?: string;
}

/** A VM in PROLOG; `folder` is its own. */
async function vm(id: number, { text = carried, name = 'web', os }: Wish = {}) {
  const { xml, path } = await fileVm(world.datastores, id, [{ id: 0 }], {
    ...{ name, state: 3, lcmState: 1 },
    userTemplate: `<ONEVMDUMP_NVRAM>${text}</ONEVMDUMP_NVRAM>`,
  });
  const firmware = os ?? '<OS><FIRMWARE>/usr/share/OVMF/OVMF_CODE.fd</FIRMWARE></OS>';
  return {
    xml: xml.replace('<TM_MAD_SYSTEM>', `${firmware}<TM_MAD_SYSTEM>`),
    folder: dirname(path(0)),
  };
}

const run = (xml: string) =>
  runToEnd(hook, [], { env: world.env, input: Buffer.from(xml).toString('base64') });

test('a VM that is being deployed gets the UEFI variables that its template carries, for QEMU alone', async () => {
  const { xml, folder } = await vm(1);
  expect(await run(xml)).toMatchObject({ code: 0, stdout: '' });
  expect((await readFile(join(folder, 'web_VARS.fd'))).equals(nvram)).toBe(true);
  expect(await readdir(folder)).toEqual(['web_VARS.fd']);
});

test('a VM that has UEFI variables already keeps them at its deployment', async () => {
  const { xml, folder } = await vm(2);
  await writeFile(join(folder, 'web_VARS.fd'), 'of its own');
  const { code, stderr } = await run(xml);
  expect(code).toBe(0);
  expect(stderr).toMatch(/WARNING: .*VM 2 has other UEFI variables already, which are kept/);
  expect(await readFile(join(folder, 'web_VARS.fd'), 'utf8')).toBe('of its own');
  const again = await run(xml.replace('<SEQ>0</SEQ>', '<SEQ>1</SEQ>'));
  expect(again.code).toBe(0);
  expect(again.stderr).not.toContain('WARNING');
});

test('no folder for UEFI variables is made for a datastore that is not there', async () => {
  const { xml } = await vm(7);
  const { code, stderr } = await run(xml.replaceAll('<DS_ID>0</DS_ID>', '<DS_ID>8</DS_ID>'));
  expect({ code, stderr }).toEqual({
    code: 4,
    stderr: expect.stringContaining('cannot put the UEFI variables of VM 7 into') as unknown,
  });
  expect(await readdir(world.datastores)).not.toContain('8');
});

test('a link in the place of the UEFI variables is not followed', async () => {
  const { xml, folder } = await vm(3);
  const victim = join(world.folder, 'victim');
  await writeFile(victim, 'untouched');
  await symlink(victim, join(folder, 'web_VARS.fd'));
  expect((await run(xml)).code).toBe(0);
  expect(await readFile(victim, 'utf8')).toBe('untouched');
});

test.each<readonly [string, Wish]>([
  ['whose firmware is BIOS', { os: '<OS><FIRMWARE>BIOS</FIRMWARE></OS>' }],
  ['without a firmware', { os: '' }],
  ['that carries no base64', { text: '*' }],
  ['that carries what is not compressed', { text: Buffer.from('text').toString('base64') }],
  ['that carries a bomb', { text: gzipSync(Buffer.alloc(80 * 1024 * 1024)).toString('base64') }],
])('the hook for UEFI variables leaves a VM %s alone', async (_, wish) => {
  const { xml, folder } = await vm(4, wish);
  expect(await run(xml)).toMatchObject({ code: 0, stdout: '', stderr: '' });
  expect(await readdir(folder)).toEqual([]);
});

test('the hook for UEFI variables refuses a VM whose name leads out of its folder', async () => {
  const { xml } = await vm(5, { name: '../../evil' });
  expect((await run(xml)).code).toBe(2);
  expect(await readdir(world.datastores)).not.toContain('evil_VARS.fd');
});

test('a VM that carries no UEFI variables costs the hook nothing: its XML is not even parsed', async () => {
  expect(await run('<VM>')).toEqual({ code: 0, stdout: '', stderr: '' });
});

test('the folder for UEFI variables is made when the hook is faster than OpenNebula', async () => {
  const { xml, folder } = await vm(6);
  const later = xml.replaceAll('<DS_ID>0</DS_ID>', '<DS_ID>7</DS_ID>');
  await mkdir(join(world.datastores, '7'), { recursive: true });
  expect(await run(later)).toMatchObject({ code: 0 });
  expect(await readdir(folder)).toEqual([]);
  expect(await readdir(join(world.datastores, '7/6'))).toEqual(['web_VARS.fd']);
});
