// Bundles of the older onevmdump have no checksums, and a disk that was cut short went into them without a word.
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runToEnd, sh } from '../support/shell.ts';

const command = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-test-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A bundle without a manifest, of a VM whose disk 0 is the file `backup.disk.0`. */
async function bundleOf(format: 'raw' | 'qcow2', sizeMb: number): Promise<string> {
  const disk = `<DISK><DISK_ID>0</DISK_ID><TYPE>FILE</TYPE><FORMAT>${format}</FORMAT><SIZE>${sizeMb}</SIZE><TM_MAD>ssh</TM_MAD></DISK>`;
  await writeFile(
    join(folder, 'vm.xml'),
    `<VM><ID>7</ID><NAME>old</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE>${disk}</TEMPLATE><USER_TEMPLATE/></VM>`,
  );
  const bundle = join(folder, 'old.tar.gz');
  await sh('tar', '-czf', bundle, '-C', folder, './vm.xml', './backup.disk.0');
  return bundle;
}

async function makeQcow2(): Promise<string> {
  const disk = join(folder, 'backup.disk.0');
  await rm(disk, { force: true });
  const raw = join(folder, 'raw');
  await writeFile(raw, Buffer.alloc(4 * 1024 * 1024, 7));
  await sh('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, disk);
  return disk;
}

/** Exit codes of verify, extract as it is, and extract in the other format; and what extract left. */
async function judge(bundle: string, other: string) {
  const out = join(folder, 'out');
  const extract = ['extract', bundle, '--disk', '0', '-o', out];
  const statuses: (number | null)[] = [];
  const messages: string[] = [];
  for (const args of [['verify', bundle], extract, [...extract, '--format', other]]) {
    const { code, stderr } = await runToEnd(process.execPath, [command, ...args]);
    statuses.push(code);
    messages.push(stderr);
    await rm(out, { force: true });
  }
  const left = (await readdir(folder)).filter((name) => name.startsWith('out'));
  return { statuses, messages, left };
}

describe('a bundle without a manifest', () => {
  it('a bundle without a manifest verifies and is extracted when its qcow2 disk is whole', async () => {
    await makeQcow2();
    const { statuses } = await judge(await bundleOf('qcow2', 4), 'raw');
    expect(statuses).toEqual([0, 0, 0]);
  });

  it.each([200_000, 500_000, 3_000_000])(
    'a bundle without a manifest is refused when its qcow2 disk was cut to %i bytes before it was put into the bundle',
    async (size) => {
      await truncate(await makeQcow2(), size);
      const { statuses, messages, left } = await judge(await bundleOf('qcow2', 4), 'raw');
      expect(statuses).toEqual([5, 5, 5]);
      for (const message of messages) expect(message).toMatch(/disk 0 was cut short before/);
      expect(left).toEqual([]);
    },
  );

  it('a bundle without a manifest is refused when its qcow2 disk is smaller than the VM says', async () => {
    await makeQcow2();
    expect((await judge(await bundleOf('qcow2', 5), 'raw')).statuses).toEqual([5, 5, 5]);
  });

  it.each([
    [4 * 1024 * 1024, 4, 0],
    [4 * 1024 * 1024 - 512, 4, 0],
    [3 * 1024 * 1024, 4, 5],
    [1024 * 1024, 10, 5],
  ])(
    'a bundle without a manifest with a raw disk of %i bytes and SIZE %i ends with code %i',
    async (bytes, sizeMb, code) => {
      await rm(join(folder, 'backup.disk.0'), { force: true });
      await writeFile(join(folder, 'backup.disk.0'), Buffer.alloc(bytes, 7));
      const { statuses } = await judge(await bundleOf('raw', sizeMb), 'qcow2');
      expect(statuses).toEqual([code, code, code]);
    },
  );
});
