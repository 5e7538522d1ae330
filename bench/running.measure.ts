// `npm run bench:running`: exports of a running VM of the libvirt lab beside virtnbdbackup of the same guest, in turn.
// Needs root; README.md here says more. As a test file, since the lab's modules run under Jest.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sh } from '../test/support/shell.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from '../test/lab/libvirt.ts';
import { onevmdump } from '../test/lab/export-scene.ts';
import { makeFileSystem } from './disk.ts';
import { installed } from './installed.ts';
import { inWords, machine, roundsInWords, sideTable, withSection } from './report.ts';
import { inTurn, type Side } from './side.ts';

const dataMiB = Number(process.env['ONEVMDUMP_BENCH_DATA_MIB'] ?? '1024');
const rounds = Number(process.env['ONEVMDUMP_BENCH_ROUNDS'] ?? '3');
const json = process.env['ONEVMDUMP_BENCH_JSON'];
const markdown = process.env['ONEVMDUMP_BENCH_MARKDOWN'];

let lab: LibvirtLab;
let folder: string;
/** A copy of the guest's disk 3, which the guest does not change. */
let source: string;

beforeAll(async () => {
  lab = await upLibvirt();
  folder = await mkdtemp('/var/tmp/onevmdump-bench-');
  source = join(folder, 'source.qcow2');
  await fillDisk();
  await lab.ssh.start();
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  // VM 9 has its own disk again, whatever was measured.
  if (await lab.ssh.isRunning()) await lab.ssh.destroy();
  await sh('bash', '-c', `cd '${lab.ssh.folder}' && [ ! -e own.3 ] || mv own.3 disk.3`);
  if (lab.startedNow) await downLibvirt();
});

/** Gives VM 9, while it is off, a disk 3 of real files. They begin after 1 MiB, so that the guest does not mount them. */
async function fillDisk(): Promise<void> {
  const vm = lab.ssh;
  if (await vm.isRunning()) await vm.powerOff();
  const [files, shifted] = [join(folder, 'files.raw'), join(folder, 'shifted.raw')];
  await makeFileSystem(files, { dataMiB, virtualMiB: dataMiB * 2 });
  await sh('dd', `if=${files}`, `of=${shifted}`, 'bs=1M', 'seek=1', 'conv=sparse', 'status=none');
  await sh('truncate', '-s', `${dataMiB * 2 + 1}M`, shifted);
  await sh('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', shifted, source);
  await rm(files);
  await rm(shifted);
  await sh('bash', '-c', `cd '${vm.folder}' && { [ -e own.3 ] || mv disk.3 own.3; }`);
  await copyFile(source, vm.diskPath(3));
}

describe('a running guest', () => {
  test('a running guest is exported, and backed up by virtnbdbackup, in turn, and each has its disk', async () => {
    const { domain } = lab.ssh;
    const server = Number(await readFile(privateFile(`qemu/${domain}.pid`), 'utf8'));
    const where = machine();
    const figures = await inTurn(
      [...(await exports(server)), ...(await virtnbdbackup(server))],
      rounds,
    );
    expect(figures).not.toEqual([]);
    const text = `${inWords(where)} ${roundsInWords(rounds)}\n\n${sideTable(figures)}\n`;
    process.stderr.write(`\n${text}`);
    if (json !== undefined)
      await writeFile(json, JSON.stringify({ machine: where, rounds, sides: figures }, null, 1));
    if (markdown !== undefined) {
      const document = await readFile(markdown, 'utf8');
      await writeFile(markdown, withSection(document, 'running', text));
    }
  });
});

/** A file below /run/libvirt, as the lab's libvirtd sees it. */
function privateFile(name: string): string {
  return join(lab.datastores, '../private/run/libvirt', name);
}

/** Exports of what virtnbdbackup takes as well: all disks but CD-ROMs. */
async function exports(server: number): Promise<Side[]> {
  const xml = join(folder, 'vm.xml');
  const size = `<SIZE><![CDATA[${dataMiB * 2 + 1}]]></SIZE>`;
  await writeFile(xml, (await lab.ssh.xml()).replace('<SIZE><![CDATA[64]]></SIZE>', size));
  const output = join(folder, 'bundle');
  const env = {
    ONEVMDUMP_CONFIG: '/dev/null',
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_LIBVIRT_URI: lab.uri,
  };
  const disks = '--disk 0 --disk 1 --disk 3';
  return ['none', 'gzip', 'zstd'].map((compression) => ({
    id: `running-${compression}`,
    name: `export, ${compression}`,
    line: `'${onevmdump}' export --stdin -L ${disks} --compress ${compression} -d '${output}' < '${xml}'`,
    ...{ env, output, server },
    async check() {
      const disk = join(folder, 'extracted');
      await sh(onevmdump, 'extract', output, '--disk', '3', '-o', disk);
      await sh('qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', source, disk);
      await rm(disk);
    },
  }));
}

/** It only knows libvirt's usual socket without a password, so it runs in the mount namespace of the lab's libvirtd. */
async function virtnbdbackup(server: number): Promise<Side[]> {
  if (!(await installed('virtnbdbackup', 'virtnbdbackup'))) return [];
  const pid = (await readFile(join(lab.datastores, '../libvirtd.pid'), 'utf8')).trim();
  const within = ['nsenter', '-t', pid, '-m', 'env', `HOME=${folder}`];
  const output = join(folder, 'virtnbdbackup');
  const version = (await sh('virtnbdbackup', '--version')).trim();
  const side = (id: string, name: string, more: string): Side => ({
    id,
    name: `virtnbdbackup ${version}, ${name}`,
    line: `${within.join(' ')} virtnbdbackup -d ${lab.ssh.domain} -l copy --raw -n ${more} -o '${output}'`,
    ...{ output, server },
    async check() {
      const restored = join(folder, 'restored');
      await mkdir(restored);
      const [program = '', ...words] = within;
      const wanted = ['virtnbdrestore', '-n', '-d', 'vdc', '-i', output, '-o', restored];
      await sh(program, ...words, ...wanted);
      const disk = join(restored, 'disk.3');
      await sh('qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', source, disk);
      await rm(restored, { recursive: true });
    },
  });
  return [side('virtnbdbackup', 'no compression', ''), side('virtnbdbackup-lz4', 'lz4', '-z')];
}
