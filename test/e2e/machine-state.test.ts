// UEFI variables and the state of a vTPM on their way through a bundle, judged by GNU tar.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { sh } from '../support/shell.ts';
import { fileVm } from '../support/file-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let bundle: string;
/** As OVMF's: mostly erased flash. */
const nvram = Buffer.concat([randomBytes(9000), Buffer.alloc(531_672, 0xff)]);
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

/** The members of a bundle with one disk and no state. */
const withoutState = [
  './',
  './vm.xml',
  './about.json',
  './backup.disk.0',
  './regions.disk.0',
  './manifest.json',
];

describe('an export of a VM that is powered off', () => {
  test('an export of a VM that is powered off holds its UEFI variables and the state of its vTPM, byte for byte', async () => {
    const { xml, folder } = await vm(81, uefi + vtpm);
    await writeFile(join(folder, 'web_VARS.fd'), nvram);
    await mkdir(join(folder, 'tpm'));
    await writeFile(join(folder, 'tpm/tpm2-00.permall'), tpm);
    const { code, stderr, members } = await exported(xml);
    expect({ code, warnings: stderr.includes('WARNING') }).toEqual({ code: 0, warnings: false });
    expect(members).toEqual([
      './',
      './vm.xml',
      './about.json',
      './nvram',
      './tpm.tar',
      './backup.disk.0',
      './regions.disk.0',
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

  test('the verification of a bundle finds a changed byte in its UEFI variables and vTPM state', async () => {
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

  test('an export of a VM that is powered off says which UEFI variables or vTPM state are missing, and is made all the same', async () => {
    const { xml } = await vm(82, uefi + vtpm);
    const { code, stderr, members } = await exported(xml);
    expect(code).toBe(0);
    expect(stderr).toMatch(/WARNING.*the UEFI variables of VM 82 are not in the bundle/);
    expect(stderr).toMatch(/WARNING.*the state of the vTPM of VM 82 is not in the bundle/);
    expect(members).toEqual(withoutState);
  });

  test("an export does not follow a link that the owner of the VM's folder has put in the place of its UEFI variables", async () => {
    const { xml, folder } = await vm(83, uefi);
    await symlink('/etc/passwd', join(folder, 'web_VARS.fd'));
    const { code, stderr, members } = await exported(xml);
    expect({ code, members }).toEqual({
      code: 0,
      members: withoutState,
    });
    expect(stderr).toContain('is a link');
  });

  test.each(['', '<OS><BOOT>disk0</BOOT></OS>', '<OS><FIRMWARE>BIOS</FIRMWARE></OS>', '<TPM/>'])(
    'an export looks for neither UEFI variables nor vTPM state where the VM has none: %s',
    async (more) => {
      const { code, stderr, members } = await exported((await vm(84, more)).xml);
      expect({ code, warnings: stderr.includes('WARNING') }).toEqual({ code: 0, warnings: false });
      expect(members).not.toContain('./nvram');
    },
  );
});

describe('a restore', () => {
  const firmware = 'OS=[FIRMWARE="/usr/share/OVMF/OVMF_CODE.fd"]';
  let oldId: number;
  let made: string;

  /** A VM of the stand-in, exported with random UEFI variables and the state of a vTPM. */
  beforeAll(async () => {
    const file = join(world.folder, 'source');
    await writeFile(file, Buffer.alloc(1024 * 1024, 7));
    const image = await world.sandbox.makeImage({ name: 'source', file, format: 'raw' });
    oldId = await world.sandbox.makeVm({
      template: `CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=${image}]\n${firmware}\nTPM=[MODEL="tpm-crb"]\n`,
      name: 'web',
      state: 'poweroff',
    });
    const folder = world.sandbox.vmFolder(oldId);
    await writeFile(join(folder, 'web_VARS.fd'), nvram);
    await mkdir(join(folder, 'tpm'));
    await writeFile(join(folder, 'tpm/tpm2-00.permall'), tpm);
    made = join(world.bundles, 'made.tar.gz');
    // 7.2 has TPM in TEMPLATE; for earlier ones, as the stand-in is, it is an attribute of the user.
    const tpmOfUser = /<TPM>.*<\/TPM>/.exec(world.sandbox.vmXml(oldId))?.[0] ?? '';
    const xml = world.sandbox
      .vmXml(oldId)
      .replace(tpmOfUser, '')
      .replace('<TM_MAD_SYSTEM>', `${tpmOfUser}<TM_MAD_SYSTEM>`);
    const words = ['export', '--stdin', '-L', '-d', made];
    const { code, stderr } = await world.run(words, { input: xml });
    if (code !== 0) throw new Error(stderr);
  });

  async function restored(name: string): Promise<number> {
    const { code, stdout, stderr } = await world.run([
      ...['restore', made, '--instantiate', '-n', name],
    ]);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    await world.sandbox.settle();
    return Number(/^VM Restored: (\d+)\n$/.exec(stdout)?.[1]);
  }
  const variablesOf = (id: number, name: string) =>
    readFile(join(world.sandbox.vmFolder(id), `${name}_VARS.fd`));

  test('a restore puts the UEFI variables into the folder of the VM before its guest starts', async () => {
    world.sandbox.deployMs = 2000;
    try {
      const id = await restored('slow');
      expect((await variablesOf(id, 'slow')).equals(nvram)).toBe(true);
      expect(world.sandbox.vmXml(id)).toMatch(/<STATE>3<\/STATE>/);
    } finally {
      world.sandbox.deployMs = 1;
    }
  });

  test('a restore starts a VM anew whose guest was started before its UEFI variables were in place', async () => {
    const id = await restored('fast');
    expect((await variablesOf(id, 'fast')).equals(nvram)).toBe(true);
    expect(world.sandbox.vmXml(id)).toMatch(/<STATE>3<\/STATE><LCM_STATE>3<\/LCM_STATE>/);
  });

  test('a restore that is interrupted while its VM waits for a host leaves the VM, and says what it lacks', async () => {
    const { world: there } = world.sandbox;
    there.schedulerMs = 3000;
    try {
      const { code, stdout, stderr } = await world.run(
        ['restore', made, '--instantiate', '-n', 'waiting'],
        {
          started: (pid) => {
            const isMade = () => [...there.vms.values()].some(({ name }) => name === 'waiting');
            const timer = setInterval(() => {
              if (!isMade()) return;
              clearInterval(timer);
              setTimeout(() => process.kill(pid, 'SIGINT'), 700);
            }, 20);
          },
        },
      );
      expect(stderr).toMatch(
        /WARNING: onevmdump: VM \d+ may start with new UEFI variables: interrupted by SIGINT; .*docs\/restore\.md/,
      );
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^VM Restored: \d+\n$/) as unknown,
      });
    } finally {
      there.schedulerMs = 0;
    }
    await world.sandbox.settle();
    const left = [...there.vms.values()].find(({ name }) => name === 'waiting');
    expect(left?.state).toBe(3);
    const bundles = ['made.tar.gz', 'state.tar', 'state.tar.gz'];
    expect((await world.leftovers()).map((path) => basename(path))).toEqual(bundles);
  });

  test('a restore starts its VM again also when the UEFI variables could not be put into place', async () => {
    const { world: there } = world.sandbox;
    const programs = join(world.folder, 'mv-fails');
    await mkdir(programs);
    await writeFile(join(programs, 'mv'), '#!/bin/sh\necho full >&2; exit 1\n', { mode: 0o755 });
    // As if OpenNebula had made the file first, whoever is faster: then the VM is powered off for its file to be replaced.
    await writeFile(join(programs, 'ln'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const { code, stderr } = await world.run(['restore', made, '--instantiate', '-n', 'full'], {
      env: { PATH: `${programs}:${process.env['PATH'] ?? ''}` },
    });
    expect(code).toBe(0);
    expect(stderr).toMatch(/WARNING: onevmdump: VM \d+ may start with new UEFI variables: .*full/);
    await world.sandbox.settle();
    const left = [...there.vms.values()].find(({ name }) => name === 'full');
    expect([left?.state, left?.lcmState]).toEqual([3, 3]);
  });

  test('a restore gives the state of the vTPM to OpenNebula in the form it takes at the first start', async () => {
    const id = await restored('tpm');
    const [, text = ''] =
      /<TPM_STATE>(?:<!\[CDATA\[)?([A-Za-z0-9+/=]+)/.exec(world.sandbox.vmXml(id)) ?? [];
    const out = join(world.folder, 'tpm-out');
    await mkdir(out);
    await writeFile(join(out, 'text'), text);
    // As vmm_mad/remotes/kvm/deploy of OpenNebula 7.2 does.
    await sh('bash', '-c', `base64 -d <'${out}/text' | tar zxf - -C '${out}'`);
    expect((await readFile(join(out, 'tpm/tpm2-00.permall'))).equals(tpm)).toBe(true);
  });

  test('an export of a restored VM takes the UEFI variables that the VM has now, not those that an earlier restore has carried', async () => {
    const id = await restored('again');
    const newer = randomBytes(1000);
    await writeFile(join(world.sandbox.vmFolder(id), 'again_VARS.fd'), newer);
    await world.sandbox.settle();
    const later = join(world.bundles, 'later.tar.gz');
    const ended = await world.run(['export', '--stdin', '-L', '-d', later], {
      input: world.sandbox
        .vmXml(id)
        .replace('<STATE>3</STATE><LCM_STATE>3', '<STATE>8</STATE><LCM_STATE>0'),
    });
    expect(ended.code).toBe(0);
    const { stdout } = await world.run(['restore', later, '-n', 'later']);
    const template = await world.one.text(
      'one.template.info',
      Number(/restored: (\d+)/.exec(stdout)?.[1]),
      false,
    );
    expect(template.match(/<ONEVMDUMP_NVRAM>/g)).toHaveLength(1);
    const [, text = ''] = /<ONEVMDUMP_NVRAM>(?:<!\[CDATA\[)?([A-Za-z0-9+/=]+)/.exec(template) ?? [];
    expect(gunzipSync(Buffer.from(text, 'base64')).equals(newer)).toBe(true);
  });

  test('a restore refuses a bundle whose state of the vTPM would put files beside it', async () => {
    const folder = join(world.folder, 'hostile');
    await mkdir(folder);
    await sh('tar', '-C', folder, '-xzf', made, './vm.xml', './backup.disk.0');
    await sh(
      'bash',
      '-c',
      `cd '${folder}' && ln -s /etc/passwd disk.0 && tar -cf tpm.tar disk.0 && rm disk.0`,
    );
    const hostile = join(world.bundles, 'hostile.tar');
    await sh('tar', '-C', folder, '-cf', hostile, './vm.xml', './tpm.tar', './backup.disk.0');
    const { code, stderr } = await world.run(['restore', hostile, '-n', 'hostile']);
    expect(code).toBe(5);
    expect(stderr).toContain('something else than plain files');
  });
});
