// Whatever verify takes for sound can be restored, and what restore refuses of a bundle, verify refuses too.
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fileVm } from '../support/file-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let folder: string;
let disk: string;
beforeAll(async () => {
  world = await makeWorld();
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-agree-'));
  disk = (await fileVm(world.datastores, 7, [{ id: 0 }])).xml;
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

interface Content {
  readonly xml: string;
  /** Makes the disks in the folder it gets. */
  readonly disks?: (place: string) => void;
}

/** A bundle as the older onevmdump packs it. */
async function pack({ xml, disks = rawDisk }: Content): Promise<string> {
  const place = join(folder, 'content');
  await rm(place, { recursive: true, force: true });
  await mkdir(place);
  await writeFile(join(place, 'vm.xml'), xml);
  disks(place);
  const bundle = join(folder, 'bundle.tar.gz');
  execFileSync('tar', ['-C', place, '-czSf', bundle, './']);
  return bundle;
}

const rawDisk = (place: string) =>
  void execFileSync('sh', ['-c', `head -c 100000 /dev/urandom > ${place}/backup.disk.0`]);
const qcow2Disk = (more: string) => (place: string) =>
  void execFileSync('sh', ['-c', `cd ${place}; ${more}`]);

let count = 0;
async function judge(bundle: string) {
  const verified = await world.run(['verify', bundle]);
  const restored = await world.run(['restore', bundle, '-n', `agree-${(count += 1)}`]);
  return { verified, restored };
}

const qcow2 = (xml: string) => xml.replaceAll('>raw<', '>qcow2<');

describe('verify and restore both refuse with exit code 5 a bundle', () => {
  const refused: readonly (readonly [string, (xml: string) => Content, RegExp])[] = [
    ['without the NAME of its VM', (xml) => ({ xml: xml.replace(/<NAME>.*?<\/NAME>/, '') }), /has no NAME/],
    ['without a TEMPLATE', (xml) => ({ xml: xml.replace(/<TEMPLATE>.*<\/TEMPLATE>/s, '') }), /has no TEMPLATE/],
    ['with a DISK without TYPE', (xml) => ({ xml: xml.replace('<TYPE>FILE</TYPE>', '') }), /has no TYPE/],
    ['with two disks of one id', (xml) => ({ xml: xml.replace(/<DISK>.*<\/DISK>/s, (one) => one + one) }), /two disks with DISK_ID 0/],
    ['whose vm.xml is cut', (xml) => ({ xml: xml.slice(0, 300) }), /not usable as XML/],
    ['whose vm.xml is of something else', () => ({ xml: '<IMAGE><ID>1</ID></IMAGE>' }), /not a VM's XML/],
    ['without one of its disks', (xml) => ({ xml, disks: () => undefined }), /lacks disk 0/],
    ['with a disk that its VM does not have', (xml) => ({ xml, disks: (place) => { rawDisk(place); execFileSync('cp', [`${place}/backup.disk.0`, `${place}/backup.disk.5`]); } }), /holds disk 5/],
    ['whose qcow2 disk names a backing file', (xml) => ({ xml: qcow2(xml), disks: qcow2Disk('qemu-img create -q -f raw b 1M; qemu-img create -q -f qcow2 -b b -F raw backup.disk.0; rm b') }), /backing file/],
    ['whose qcow2 disk is none', (xml) => ({ xml: qcow2(xml) }), /it is not a qcow2 file/],
  ]; // prettier-ignore

  test.each(refused)(
    'verify and restore both refuse with exit code 5 a bundle %s',
    async (_name, change, reason) => {
      const { verified, restored } = await judge(await pack(change(disk)));
      expect([verified.code, restored.code]).toEqual([5, 5]);
      expect(verified.stderr).toMatch(reason);
      expect(restored.stderr).toMatch(reason);
      expect(await world.leftovers()).toEqual([]);
    },
  );
});

describe('verify and restore both take a bundle', () => {
  test.each<readonly [string, (xml: string) => Content]>([
    ['as the older onevmdump writes it', (xml) => ({ xml })],
    ['whose vm.xml begins with a comment', (xml) => ({ xml: `<!-- of today -->\n${xml}` })],
    ['whose vm.xml begins with a declaration', (xml) => ({ xml: `<?xml version="1.0"?>\n${xml}` })],
    ['whose vm.xml ends in a comment', (xml) => ({ xml: `${xml}<!-- end -->\n` })],
    ['with a stand-alone qcow2 disk', (xml) => ({ xml: qcow2(xml), disks: qcow2Disk('qemu-img create -q -f qcow2 backup.disk.0 5M') })],
  ])('verify and restore both take a bundle %s', async (_name, change) => {
    const { verified, restored } = await judge(await pack(change(disk)));
    expect([verified.stderr, verified.code]).toEqual(['', 0]);
    expect(restored.code).toBe(0);
  }); // prettier-ignore
});

test('show gives the size of a qcow2 disk as the guest sees it, also where it names a backing file', async () => {
  const bundle = await pack({
    xml: qcow2(disk),
    disks: qcow2Disk(
      'qemu-img create -q -f qcow2 b 77M; qemu-img create -q -f qcow2 -b b -F qcow2 backup.disk.0; rm b',
    ),
  });
  const { stdout, code } = await world.run(['show', bundle, '--json']);
  expect(code).toBe(0);
  const { disks } = JSON.parse(stdout) as { disks: { virtualSize: number }[] };
  expect(disks[0]?.virtualSize).toBe(77 * 2 ** 20);
});

test('show ends with exit code 5 for a bundle whose vm.xml is no XML', async () => {
  const { code, stderr } = await world.run(['show', await pack({ xml: 'VM 7' })]);
  expect([code, stderr.split('\n').length]).toEqual([5, 2]);
});

test('list reads a folder of huge and hostile files in little time, and names them', async () => {
  const place = join(folder, 'many');
  await mkdir(place);
  const zeros = join(place, 'zeros.tar.gz');
  await writeFile(zeros, '');
  await truncate(zeros, 2 ** 42);
  execFileSync('mkfifo', [join(place, 'fifo.tar')]);
  const { code, stdout } = await world.run(['list', place]);
  expect(code).toBe(0);
  expect(stdout).toContain('zeros.tar.gz (no index');
  expect(stdout).toContain('it is not a regular file');
});
