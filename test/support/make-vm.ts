// A VM with real disks in the sandbox: a qcow2 overlay on a backing image, a raw disk with holes, a
// volatile disk and a CD-ROM, each with a real file system in it. Used by the demo and the tests.
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OneClient } from '../../lib/one/client.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { sh } from './shell.ts';

/** Image datastores of the sandbox: one keeps what it gets, the other converts to qcow2. */
const datastores = { asIs: 1, qcow2: 101 };

/** User values that have to survive every quoting on the way. */
export const awkwardValues: Readonly<Record<string, string>> = {
  NOTE: `it's "quoted" \\ back\\\\slash $(touch /tmp/onevmdump-was-here) \`id\` <b>&amp; 🐧`,
  LINES: 'first\nsecond\n\ttabbed',
};

/** Makes and powers off the VM; `folder` gets the files its images are made from. */
export async function makeVm(sandbox: Sandbox, one: OneClient, folder: string): Promise<number> {
  await mkdir(folder, { recursive: true });
  const system = await extImage(folder, 'system', 192, { hostname: 'web\n', 'big.bin': bytes(24) });
  const base = join(folder, 'base.qcow2');
  await sh('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', system, base);
  const data = await extImage(folder, 'data', 512, { 'records.txt': 'one\ntwo\n' });
  const disc = await isoImage(folder);

  const images = {
    base: await allocate(one, datastores.qcow2, {
      NAME: 'debian',
      TYPE: 'OS',
      PATH: base,
      DEV_PREFIX: 'vd',
    }),
    data: await allocate(one, datastores.asIs, {
      NAME: 'records',
      TYPE: 'DATABLOCK',
      PATH: data,
      PERSISTENT: 'YES',
      DESCRIPTION: `The company's "records"`,
    }),
    disc: await allocate(one, datastores.qcow2, { NAME: 'installer', TYPE: 'CDROM', PATH: disc }),
  };
  await sandbox.settle();
  const template = await one.id('one.template.allocate', vmTemplate(images));
  const vmId = await one.id('one.template.instantiate', template, 'web', false, '', false);
  await sandbox.settle();
  sandbox.powerOff(vmId);
  const vmFolder = join(sandbox.dir, 'datastores', '100', String(vmId));
  await writeIntoOverlay(folder, system, join(vmFolder, 'disk.0.snap', '0'));
  await writeIntoVolatile(folder, join(vmFolder, 'disk.2'));
  return vmId;
}

function vmTemplate(images: { base: number; data: number; disc: number }): string {
  const values = Object.entries(awkwardValues).map(
    ([name, value]) => `<${name}><![CDATA[${value}]]></${name}>`,
  );
  return `<VMTEMPLATE><NAME>web</NAME><CPU>0.5</CPU><VCPU>2</VCPU><MEMORY>256</MEMORY>
    <OS><ARCH>x86_64</ARCH><BOOT>disk0</BOOT></OS>
    <GRAPHICS><TYPE>VNC</TYPE><LISTEN>127.0.0.1</LISTEN></GRAPHICS>
    <CONTEXT><NETWORK>YES</NETWORK><SET_HOSTNAME>web</SET_HOSTNAME></CONTEXT>
    <DISK><IMAGE_ID>${images.base}</IMAGE_ID><CACHE>writeback</CACHE></DISK>
    <DISK><IMAGE_ID>${images.data}</IMAGE_ID></DISK>
    <DISK><TYPE>fs</TYPE><SIZE>64</SIZE><FORMAT>raw</FORMAT><DEV_PREFIX>vd</DEV_PREFIX></DISK>
    <DISK><IMAGE_ID>${images.disc}</IMAGE_ID></DISK>
    <SCHED_DS_REQUIREMENTS>ID=100</SCHED_DS_REQUIREMENTS>
    ${values.join('')}</VMTEMPLATE>`;
}

function allocate(
  one: OneClient,
  datastore: number,
  attributes: Readonly<Record<string, string>>,
): Promise<number> {
  const lines = Object.entries(attributes).map(
    ([name, value]) => `${name}="${value.replaceAll('"', '\\"')}"`,
  );
  return one.id('one.image.allocate', lines.join('\n'), datastore, false);
}

/** A raw image of `mb` MiB with an ext4 file system that holds `files`. */
export async function extImage(
  folder: string,
  name: string,
  mb: number,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<string> {
  const root = join(folder, `${name}.files`);
  await mkdir(root, { recursive: true });
  for (const [file, content] of Object.entries(files)) await writeFile(join(root, file), content);
  const image = join(folder, `${name}.raw`);
  await sh('mke2fs', '-q', '-t', 'ext4', '-d', root, '-L', name, image, `${mb}M`);
  await rm(root, { recursive: true });
  return image;
}

async function isoImage(folder: string): Promise<string> {
  const root = join(folder, 'disc.files');
  await mkdir(root, { recursive: true });
  await writeFile(join(root, 'README.TXT'), 'An installer\n');
  const image = join(folder, 'disc.iso');
  await sh('xorriso', '-as', 'mkisofs', '-quiet', '-V', 'INSTALLER', '-o', image, root);
  await rm(root, { recursive: true });
  return image;
}

/** What the guest wrote since it was started: the overlay holds only what differs from its base. */
async function writeIntoOverlay(folder: string, system: string, overlay: string): Promise<void> {
  const written = join(folder, 'written.raw');
  await cp(system, written);
  const file = join(folder, 'new.bin');
  await writeFile(file, bytes(5));
  await sh('debugfs', '-w', '-R', `write ${file} new.bin`, written);
  const facts = JSON.parse(
    await sh('qemu-img', 'info', '--output=json', '-f', 'qcow2', overlay),
  ) as Record<string, string>;
  const base = facts['backing-filename'] ?? '';
  await sh(
    'qemu-img',
    'convert',
    '-O',
    'qcow2',
    '-f',
    'raw',
    '-B',
    base,
    '-F',
    'qcow2',
    written,
    overlay,
  );
  await rm(written);
}

async function writeIntoVolatile(folder: string, disk: string): Promise<void> {
  const scratch = await extImage(folder, 'scratch', 64, { 'cache.bin': bytes(3) });
  await sh('cp', '--sparse=always', scratch, disk);
}

/** `mb` MiB that do not compress to nothing, the same every time. */
function bytes(mb: number): Uint8Array {
  const data = Buffer.alloc(mb * 1024 * 1024);
  let state = 12345;
  for (let offset = 0; offset < data.length; offset += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // Half random, half text-like: a ratio as of real data.
    data.writeUInt32LE(offset % 8 ? 0x6f6e6576 : state, offset);
  }
  return data;
}
