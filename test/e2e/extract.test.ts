// onevmdump extract: single disks out of bundles, also of bundles that lost their end; no OpenNebula anywhere.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { copyFile, link, open, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { makeDisk, testFolder, writeBundle, type TestDisk } from '../support/write-bundle.ts';
import { framesOf, openPath, withBundle } from '../support/read-bundle.ts';
import { runToEnd } from '../support/shell.ts';

const command = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;
const MiB = 1024 * 1024;
const folder = testFolder();
afterAll(folder.remove);
const at = (name: string) => join(folder.path, name);
const bundle = at('bundle.tar.gz');
const out = at('out');

const sizes = [20 * MiB, 24 * MiB, 30 * MiB + 512];
const extents = [
  [{ offset: MiB, length: 9 * MiB }],
  [
    { offset: 0, length: MiB },
    { offset: 20 * MiB, length: 2 * MiB },
  ],
  [
    { offset: 4096, length: 4096 },
    { offset: 30 * MiB, length: 512 },
  ],
];
const disks: TestDisk[] = sizes.map((virtualSize, id) => ({
  path: at(`source.${id}`),
  virtualSize,
  extents: extents[id] ?? [],
  layout: id === 1 ? { format: 'qcow2', clusterSize: 65536 } : { format: 'raw' },
}));

beforeAll(async () => {
  for (const { path, virtualSize, extents: data } of disks) await makeDisk(path, virtualSize, data);
  await writeBundle(bundle, await pickCompressor({ method: 'gzip' }), disks);
});
beforeEach(() => {
  execFileSync('rm', ['-rf', out]);
  mkdirSync(out);
});

/** Where a frame of a member begins. */
async function frameStart(disk: number, frame: number): Promise<number> {
  const frames = await withBundle(bundle, (opened) => framesOf(opened, disk));
  return frames[frame]?.[0] ?? NaN;
}

const environment = {
  PATH: process.env['PATH'],
  HOME: folder.path,
  ONEVMDUMP_STATE_DIR: at('state'),
};

async function appears(path: string): Promise<void> {
  for (let tries = 0; !existsSync(path); tries++) {
    if (tries > 3000) throw new Error(`${path} does not appear`);
    await sleep(20);
  }
}

/** Runs it in the folder `out`, without anything that names an OpenNebula. */
async function extract(...args: string[]) {
  const script = `cd "$1" && shift && exec "$@"`;
  const words = ['-c', script, 'sh', out, command, 'extract', ...args];
  return runToEnd('sh', words, { env: environment });
}

function isSame(file: string, format: string, id: number): void {
  execFileSync('qemu-img', ['compare', '-f', format, '-F', 'raw', file, at(`source.${id}`)]);
}

describe('a disk is extracted', () => {
  test.each([
    [0, 'raw'],
    [1, 'qcow2'],
    [2, 'raw'],
  ])('extract writes disk %i as it is in the bundle, in %s, sparse', async (id, format) => {
    const { code, stdout, stderr } = await extract(bundle, '--disk', String(id));
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const file = join(out, `disk.${id}.${format}`);
    expect(stdout).toBe(`${file}\n`);
    isSame(file, format, id);
    expect(readdirSync(out)).toEqual([`disk.${id}.${format}`]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(file).blocks * 512).toBeLessThan(10 * MiB);
  });

  test.each([
    [0, 'qcow2'],
    [1, 'raw'],
  ])('extract writes disk %i in another format: %s', async (id, format) => {
    const { code } = await extract(bundle, '--disk', String(id), '--format', format, '-o', 'x');
    expect(code).toBe(0);
    isSame(join(out, 'x'), format, id);
    expect(readdirSync(out)).toEqual(['x']);
    expect(statSync(join(out, 'x')).mode & 0o777).toBe(0o600);
  });

  test('extract --json reports the disk it has written', async () => {
    const { stdout } = await extract(bundle, '--disk', '1', '-o', 'one', '--json');
    expect(JSON.parse(stdout)).toEqual({
      bundle,
      disk: 1,
      file: join(out, 'one'),
      format: 'qcow2',
      virtualSize: 24 * MiB,
      checksum: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
      cut: null,
    });
  });
});

describe("the VM's XML is extracted byte for byte", () => {
  test("the VM's XML is extracted byte for byte to stdout, or to a file", async () => {
    const xml = '<VM><ID>7</ID></VM>\n';
    expect((await extract(bundle, '--vm-xml')).stdout).toBe(xml);
    expect((await extract(bundle, '--vm-xml', '-o', 'vm.xml')).code).toBe(0);
    expect(readFileSync(join(out, 'vm.xml'), 'utf8')).toBe(xml);
  });
});

describe('what is there is never lost', () => {
  test('extract does not replace a file without --force', async () => {
    writeFileSync(join(out, 'mine'), 'mine');
    const refused = await extract(bundle, '--disk', '0', '-o', 'mine');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('it exists already (--force replaces it)');
    expect(readFileSync(join(out, 'mine'), 'utf8')).toBe('mine');
    expect((await extract(bundle, '--disk', '0', '-o', 'mine', '--force')).code).toBe(0);
    isSame(join(out, 'mine'), 'raw', 0);
  });

  test.each([
    ['by its own name', 'own', 'own'],
    ['by the name of a hard link to it', 'own', 'hard'],
    ['read through a hard link, by the name of the link', 'hard', 'hard'],
    ['read through a symbolic link, by its own name', 'soft', 'own'],
  ])(
    'extract does not replace the bundle that it reads, even with --force: %s',
    async (_, from, to) => {
      await copyFile(bundle, join(out, 'own'));
      await link(join(out, 'own'), join(out, 'hard'));
      await symlink('own', join(out, 'soft'));
      for (const what of [['--disk', '0'], ['--disk', '0', '--format', 'qcow2'], ['--vm-xml']]) {
        const { code, stderr } = await extract(from, ...what, '-o', to, '--force');
        expect({ code, what }).toEqual({ code: 2, what });
        expect(stderr).toContain('it is the bundle itself');
      }
      expect(readdirSync(out)).toEqual(['hard', 'own', 'soft']);
      expect(readFileSync(join(out, to)).equals(readFileSync(bundle))).toBe(true);
      expect(statSync(join(out, 'own')).nlink).toBe(2);
    },
  );

  test('extract never replaces a link or a folder', async () => {
    writeFileSync(at('target'), 'mine');
    await symlink(at('target'), join(out, 'link'));
    for (const name of ['link', '.']) {
      expect((await extract(bundle, '--disk', '0', '-o', name, '--force')).code).toBe(2);
    }
    expect(readFileSync(at('target'), 'utf8')).toBe('mine');
  });

  test('extract leaves no file of a damaged disk, and a file of its name as it was', async () => {
    const bytes = readFileSync(bundle);
    bytes[(await frameStart(0, 1)) + 5000]! ^= 0xff;
    writeFileSync(at('damaged'), bytes);
    writeFileSync(join(out, 'mine'), 'mine');
    const { code } = await extract(at('damaged'), '--disk', '0', '-o', 'mine', '--force');
    expect(code).toBe(5);
    expect(readdirSync(out)).toEqual(['mine']);
    expect(readFileSync(join(out, 'mine'), 'utf8')).toBe('mine');
    expect((await extract(at('damaged'), '--disk', '1')).code).toBe(0);
  });
});

describe('wrong usage is told in one line', () => {
  test.each<[string[], string]>([
    [[], 'give either --disk or --vm-xml'],
    [['--disk', '0', '--vm-xml'], 'give either --disk or --vm-xml'],
    [['--disk', '9'], 'has no disk 9; it has: 0, 1, 2'],
    [['--disk', 'x'], "the disk id must be a number, not 'x'"],
    [['--disk', '0', '-o', '/no/such/folder/x'], 'there is no folder /no/such/folder'],
    [['--vm-xml', '--format', 'raw'], '--format is for disks only'],
  ])('wrong usage of extract is reported in one line: %j', async (args, message) => {
    const { code, stdout, stderr } = await extract(bundle, ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });
});

describe('a disk that begins like another format is told of', () => {
  test.each([
    ['raw', [{ offset: 0, length: 65536 }], 'raw'],
    ['qcow2', [{ offset: 0, length: 65536 }], 'raw'],
  ] as const)(
    'extract warns of a disk that begins like another format when it is %s in the bundle',
    async (format, data, wanted) => {
      const source = at(`disguised.${format}.source`);
      const name = at(`disguised.${format}`);
      await makeDisk(source, MiB, data);
      const file = await open(source, 'r+');
      await file.write('QED\0', 0);
      await file.close();
      const layout = format === 'raw' ? ({ format } as const) : { format, clusterSize: 65536 };
      await writeBundle(name, await pickCompressor({ method: 'none' }), [
        { path: source, virtualSize: MiB, extents: data, layout },
      ]);
      const { code, stderr } = await extract(name, '--disk', '0', '--format', wanted, '-o', 'x');
      expect(code).toBe(0);
      expect(stderr).toContain('disk 0 is raw but begins like qed');
      expect(
        (await extract(name, '--disk', '0', '--format', 'qcow2', '-o', 'y')).stderr,
      ).not.toContain('begins like');
    },
  );
});

describe('the part files of an extract', () => {
  /** Its part files, and what `cleanup` says. */
  async function killed(...args: string[]) {
    const bin = at('slow');
    const reached = at('reached');
    execFileSync('rm', ['-rf', reached, bin]);
    mkdirSync(bin);
    writeFileSync(join(bin, 'qemu-img'), `#!/bin/sh\ntouch '${reached}'\nexec sleep 100\n`, {
      mode: 0o755,
    });
    let killing: Promise<unknown> = Promise.resolve();
    const env = { ...environment, PATH: `${bin}:${environment.PATH ?? ''}` };
    const { code } = await runToEnd(command, ['extract', ...args], {
      env,
      started: (pid) => {
        killing = appears(reached).then(() => process.kill(pid, 'SIGKILL'));
      },
    });
    await killing;
    expect(code).toBe(null);
    const left = readdirSync(out);
    const { stdout } = await runToEnd(command, ['cleanup'], { env: environment });
    return { left, stdout };
  }

  test('the part files of an extract that was killed are removed by cleanup', async () => {
    const { left, stdout } = await killed(
      bundle,
      '--disk',
      '1',
      '--format',
      'raw',
      '-o',
      join(out, 'x'),
    );
    expect(left).toHaveLength(2);
    expect(stdout).toMatch(/^extract \(process \d+, started .*\): undone\n$/);
    expect(readdirSync(out)).toEqual([]);
  });

  test('the part files of an extract that ended well are in no journal', async () => {
    expect((await extract(bundle, '--disk', '1', '--format', 'raw')).code).toBe(0);
    expect(readdirSync(at('state/journal'))).toEqual([]);
  });

  test('the part files of an extract are made also where no journal can be written, with a warning', async () => {
    const env = { ...environment, ONEVMDUMP_STATE_DIR: '/dev/null/state' };
    const file = join(out, 'x');
    const { code, stderr } = await runToEnd(
      command,
      ['extract', bundle, '--disk', '0', '-o', file],
      { env },
    );
    expect(code).toBe(0);
    expect(stderr).toContain(
      'WARNING: onevmdump: cleanup will not find what a killed extract leaves',
    );
    isSame(file, 'raw', 0);
  });
});

describe('a bundle that lost its end', () => {
  /** A copy that ends `bytes` behind the beginning of a member. */
  async function cutAt(name: string, bytes: number): Promise<string> {
    const offset = await withBundle(bundle, ({ manifest }) =>
      Promise.resolve(manifest?.members.find((member) => member.name === name)?.offset ?? NaN),
    );
    await copyFile(bundle, at('cut'));
    truncateSync(at('cut'), offset + bytes);
    return at('cut');
  }

  test('extract from a bundle that lost its end gives the disks before the cut with --salvage, and says how without', async () => {
    const cut = await cutAt('./backup.disk.2', -200_000);
    const refused = await extract(cut, '--disk', '0', '--json');
    expect(refused.code).toBe(5);
    expect(JSON.parse(refused.stdout)).toMatchObject({
      error: { code: 'bundle-cut', wholeDisks: [0] },
    });
    expect(refused.stderr).toContain('what comes before that is whole (disk 0)');
    const { code, stdout, stderr } = await extract(cut, '--disk', '0', '--salvage', '--json');
    expect(code).toBe(7);
    expect(stderr).toContain('WARNING: onevmdump: the bundle lost its end');
    expect(JSON.parse(stdout)).toMatchObject({
      cut: expect.stringContaining('disk 1') as unknown,
      error: { code: 'bundle-incomplete', exitCode: 7 },
    });
    isSame(join(out, 'disk.0.raw'), 'raw', 0);
  });

  test('extract from a bundle that lost its end gives its last disk when only what stands behind that is cut', async () => {
    const opened = await openPath(bundle);
    await opened.close();
    const { offset = NaN, stored = NaN } = opened.manifest?.members.at(-1) ?? {};
    await copyFile(bundle, at('cut'));
    truncateSync(at('cut'), offset + stored + 200);
    const { code, stderr } = await extract(at('cut'), '--disk', '2', '--salvage', '--force');
    expect(code).toBe(7);
    expect(stderr).toContain('the bundle lost its end: disk 2 was extracted');
    isSame(join(out, 'disk.2.raw'), 'raw', 2);
  });

  test('extract reads a bundle that lost only a part of its index as a whole one', async () => {
    await copyFile(bundle, at('cut'));
    truncateSync(at('cut'), statSync(bundle).size - 10);
    const { code, stderr } = await extract(at('cut'), '--disk', '2');
    expect(code).toBe(0);
    expect(stderr).toContain('the index at the end of the bundle is damaged, its disks are not');
    isSame(join(out, 'disk.2.raw'), 'raw', 2);
  });

  test("extract from a bundle that lost its end gives the VM's XML with --salvage when no disk of it is whole", async () => {
    const cut = await cutAt('./backup.disk.0', 300);
    const refused = await extract(cut, '--vm-xml');
    expect({ code: refused.code, stdout: refused.stdout }).toEqual({ code: 5, stdout: '' });
    expect(refused.stderr).toContain(
      'vm.xml is whole: get it with onevmdump extract --vm-xml --salvage',
    );
    const { code, stdout } = await extract(cut, '--vm-xml', '--salvage');
    expect({ code, stdout }).toEqual({ code: 7, stdout: '<VM><ID>7</ID></VM>\n' });
  });

  test('extract from a bundle that lost its end never gives half a disk as whole', async () => {
    for (const bytes of [-200_000, -9, -1]) {
      // Right after a disk comes its table.
      const cut = await cutAt('./regions.disk.1', bytes);
      const { code, stderr } = await extract(cut, '--disk', '1', '--salvage');
      expect({ code, bytes }).toEqual({ code: 5, bytes });
      expect(stderr).toContain('is cut off and does not have all of disk 1; complete disks: 0');
      expect(existsSync(join(out, 'disk.1.qcow2'))).toBe(false);
    }
  });
});

describe('a result that cannot be told', () => {
  test('extract says what it has made when its result cannot be written to stdout', async () => {
    const script = `cd "$1" && shift && exec "$@" >/dev/full`;
    const words = ['-c', script, 'sh', out, command, 'extract', bundle, '--disk', '0', '-o', 'x'];
    const { code, stderr } = await runToEnd('sh', words, { env: environment });
    expect(code).toBe(1);
    expect(stderr).toContain(`nothing was undone, the result is: ${join(out, 'x')}`);
    isSame(join(out, 'x'), 'raw', 0);
  });

  test('in a folder that was removed, the command ends with one line', async () => {
    const script = `mkdir gone && cd gone && rmdir ../gone && exec "$@"`;
    const words = ['-c', `cd "$1" && shift && ${script}`, 'sh', out, command, 'show', bundle];
    expect(await runToEnd('sh', words, { env: environment })).toEqual({
      code: 2,
      stdout: '',
      stderr: 'the current folder does not exist: change to another one\n',
    });
    const json = await runToEnd('sh', [...words, '--json'], { env: environment });
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'wrong-usage', exitCode: 2 } });
  });
});

describe('names that are too long for a file system', () => {
  test.each([234, 228, 200])('a name of %i bytes for an extracted disk', async (length) => {
    const name = 'x'.repeat(length);
    const { code, stderr } = await extract(bundle, '--disk', '0', '-o', name, '--format', 'qcow2');
    expect(code).toBe(length > 227 ? 2 : 0);
    if (length > 227) expect(stderr).toContain('its name has more than 227 bytes');
    expect(readdirSync(out)).toEqual(length > 227 ? [] : [name]);
    expect(existsSync(at('state/journal')) ? readdirSync(at('state/journal')) : []).toEqual([]);
  });
});
