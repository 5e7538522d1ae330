// UEFI variables and the state of a vTPM on their way through a bundle, judged by GNU tar.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sh } from '../demo/shell.ts';
import { fileVm } from './file-vm.ts';
import { makeWorld, type World } from './world.ts';

let world: World;
let bundle: string;
const nvram = randomBytes(540_672);
const tpm = randomBytes(6000);
beforeAll(async () => {
  world = await makeWorld();
  bundle = join(world.bundles, 'state.tar.gz');
});
afterAll(() => world.close());

const uefi = '<OS><FIRMWARE>/usr/share/OVMF/OVMF_CODE.fd</FIRMWARE></OS>';
const vtpm = '<TPM><MODEL>tpm-crb</MODEL></TPM>';

/** A powered-off VM with one disk; its folder. */
async function vm(id: number, more: string): Promise<{ xml: string; folder: string }> {
  const { xml, path } = await fileVm(world.datastores, id, [{ id: 0 }], { name: 'web' });
  await writeFile(path(0), Buffer.alloc(1024 * 1024, 5));
  return {
    xml: xml.replace('<TM_MAD_SYSTEM>', `${more}<TM_MAD_SYSTEM>`),
    folder: dirname(path(0)),
  };
}

async function exported(xml: string) {
  await rm(bundle, { force: true });
  const ended = await world.run(['export', '--stdin', '-L', '-d', bundle], { input: xml });
  const members = ended.code === 0 ? (await sh('tar', '-tzf', bundle)).trim().split('\n') : [];
  return { ...ended, members };
}

describe('an export of a VM that is powered off', () => {
  test('holds its UEFI variables and the state of its vTPM, byte for byte', async () => {
    const { xml, folder } = await vm(81, uefi + vtpm);
    await writeFile(join(folder, 'web_VARS.fd'), nvram);
    await mkdir(join(folder, 'tpm'));
    await writeFile(join(folder, 'tpm/tpm2-00.permall'), tpm);
    const { code, stderr, members } = await exported(xml);
    expect({ code, warnings: stderr.includes('WARNING') }).toEqual({ code: 0, warnings: false });
    expect(members).toEqual([
      './',
      './vm.xml',
      './nvram',
      './tpm.tar',
      './backup.disk.0',
      './manifest.json',
    ]);
    const out = join(world.folder, 'out');
    await mkdir(out);
    await sh('tar', '-C', out, '-xzf', bundle);
    await sh('tar', '-C', out, '-xf', join(out, 'tpm.tar'));
    expect((await readFile(join(out, 'nvram'))).equals(nvram)).toBe(true);
    expect((await readFile(join(out, 'tpm/tpm2-00.permall'))).equals(tpm)).toBe(true);
    expect(await world.run(['verify', bundle])).toMatchObject({ code: 0 });
    const shown = JSON.parse((await world.run(['show', '--json', bundle])).stdout) as object;
    expect(shown).toMatchObject({ state: ['nvram', 'tpm.tar'] });
  });

  test('is verified with them: a changed byte is found', async () => {
    await sh('gunzip', '-kf', bundle);
    const plain = bundle.replace(/\.gz$/, '');
    const bytes = await readFile(plain);
    const at = bytes.indexOf(nvram.subarray(1000, 1100));
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(plain, bytes);
    const { code, stderr } = await world.run(['verify', plain]);
    expect(code).toBe(5);
    expect(stderr).toContain('nvram');
  });

  test('says what is missing, and is made all the same', async () => {
    const { xml } = await vm(82, uefi + vtpm);
    const { code, stderr, members } = await exported(xml);
    expect(code).toBe(0);
    expect(stderr).toMatch(/WARNING.*the UEFI variables of VM 82 are not in the bundle/);
    expect(stderr).toMatch(/WARNING.*the state of the vTPM of VM 82 is not in the bundle/);
    expect(members).toEqual(['./', './vm.xml', './backup.disk.0', './manifest.json']);
  });

  test('does not follow a link that the owner of the folder has put there', async () => {
    const { xml, folder } = await vm(83, uefi);
    await symlink('/etc/passwd', join(folder, 'web_VARS.fd'));
    const { code, stderr, members } = await exported(xml);
    expect({ code, members }).toEqual({
      code: 0,
      members: ['./', './vm.xml', './backup.disk.0', './manifest.json'],
    });
    expect(stderr).toContain('is a link');
  });

  test.each(['', '<OS><BOOT>disk0</BOOT></OS>', '<OS><FIRMWARE>BIOS</FIRMWARE></OS>', '<TPM/>'])(
    'looks for neither where the VM has none: %s',
    async (more) => {
      const { code, stderr, members } = await exported((await vm(84, more)).xml);
      expect({ code, warnings: stderr.includes('WARNING') }).toEqual({ code: 0, warnings: false });
      expect(members).not.toContain('./nvram');
    },
  );
});
