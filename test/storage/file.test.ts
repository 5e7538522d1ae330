import { describe, expect, test } from '@jest/globals';
import { buildSync } from 'esbuild';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InterruptedError } from '../../lib/report/errors.ts';
import { snapshotDisks } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import { wholeDisk } from '../support/nbd-servers.ts';
import {
  asQemuSees,
  cloneAsQcow2Tm,
  disk,
  dumpOf,
  inWorld,
  MiB,
  qemuImg,
  qemuIo,
  rawFile,
  vm,
  type World,
} from '../support/storage-world.ts';
import { until } from '../support/limits.ts';

/** An image datastore's image with data in two places. */
async function image(world: World, format: 'raw' | 'qcow2', size = 16 * MiB): Promise<string> {
  const path = join(world.location, '1', 'image');
  await rawFile(`${path}.raw`, size, [
    [0, 70_000],
    [5 * MiB + 512, MiB],
  ]);
  if (format === 'raw') renameSync(`${path}.raw`, path);
  else qemuImg('convert', '-f', 'raw', '-O', 'qcow2', `${path}.raw`, path);
  return path;
}

/** Disk 0 of VM 7, with random data at its beginning. */
async function qcow2File(world: World, size: number, data: number): Promise<void> {
  const path = join(world.vmFolder, 'disk.0');
  await rawFile(`${path}.raw`, size, [[0, data]]);
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', `${path}.raw`, path);
}

describe('a raw disk', () => {
  test('a raw disk in a file is dumped with its holes and its exact size', () =>
    inWorld(async (world) => {
      const path = join(world.vmFolder, 'disk.0');
      await rawFile(path, 9 * MiB + 77, [
        [4096, 4096],
        [9 * MiB, 77],
      ]);
      const { disks, consistency } = await snapshotDisks(
        planDumps(vm([disk(0)]), new Map()),
        world.run,
      );
      expect(consistency.level).toBe('offline');
      expect(disks.map(({ id, layout }) => ({ id, layout }))).toEqual([
        { id: 0, layout: { format: 'raw' } },
      ]);
      const reader = await disks[0]!.open();
      expect(reader.virtualSize).toBe(9 * MiB + 77);
      expect([...(await reader.extents())][0]).toEqual({ offset: 4096, length: 4096 });
      expect((await wholeDisk(reader)).equals(readFileSync(path))).toBe(true);
      await reader.close();
    }));

  test('a raw disk in a file is dumped right when every piece is given back as soon as it was copied', () =>
    inWorld(async (world) => {
      const path = join(world.vmFolder, 'disk.0');
      const size = 48 * MiB;
      await rawFile(path, size, [[0, size]]);
      const { disks } = await snapshotDisks(planDumps(vm([disk(0)]), new Map()), world.run);
      const reader = await disks[0]!.open();
      const copies: Buffer[] = [];
      const memories = new Set<ArrayBufferLike>();
      for await (const piece of reader.read([{ offset: 0, length: size }])) {
        copies.push(Buffer.from(piece));
        memories.add(piece.buffer);
        reader.recycle?.(piece);
      }
      await reader.close();
      expect(Buffer.concat(copies).equals(readFileSync(path))).toBe(true);
      expect(memories.size).toBeLessThan(40);
    }));

  test('a raw disk in a file of 0 bytes is dumped as such', () =>
    inWorld(async (world) => {
      await rawFile(join(world.vmFolder, 'disk.0'), 0);
      expect((await dumpOf(world, disk(0, { sizeMb: undefined }))).length).toBe(0);
    }));

  // OpenNebula rounds SIZE up to MiB.
  test('a raw disk in a file shorter than SIZE is refused, but not by less than a MiB, and a larger one is dumped', () =>
    inWorld(async (world) => {
      const path = join(world.vmFolder, 'disk.0');
      for (const [size, sizeMb] of [
        [2 * MiB + 1, 3],
        [3 * MiB, 3],
        [9 * MiB, 3],
      ] as const) {
        await rawFile(path, size);
        expect((await dumpOf(world, disk(0, { sizeMb }))).length).toBe(size);
      }
      await rawFile(path, 2 * MiB);
      await expect(dumpOf(world, disk(0, { sizeMb: 3 }))).rejects.toThrow(
        `disk 0 of VM 7 (${path}) was cut short: the file has ${2 * MiB} bytes, but its SIZE in OpenNebula is 3 MiB`,
      );
    }));

  test('a raw disk in a file stays raw when a guest wrote a qcow2 header into it, and nobody opens what it names', () =>
    inWorld(async (world) => {
      const path = join(world.vmFolder, 'disk.0');
      const secret = join(world.outside, 'secret');
      // Opening a FIFO without a writer would hang, so the test would not end.
      execFileSync('mkfifo', [secret]);
      qemuImg('create', '-u', '-f', 'qcow2', '-b', secret, '-F', 'raw', path, '8M');
      const bytes = readFileSync(path);
      expect((await dumpOf(world, disk(0))).equals(bytes)).toBe(true);
    }));

  test('a CD-ROM is a raw file, too, behind a link into the image datastore', () =>
    inWorld(async (world) => {
      const path = await image(world, 'raw');
      symlinkSync(path, join(world.vmFolder, 'disk.3'));
      const cdrom = disk(3, { type: 'CDROM', format: undefined, tmMad: 'shared' });
      expect((await dumpOf(world, cdrom)).equals(readFileSync(path))).toBe(true);
    }));
});

describe('a qcow2 disk', () => {
  test('a qcow2 disk in a file of TM ssh stands alone and keeps its cluster size', () =>
    inWorld(async (world) => {
      const path = join(world.vmFolder, 'disk.0');
      const raw = await image(world, 'raw');
      const options = ['-o', 'cluster_size=4096'];
      qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, path);
      const plans = planDumps(vm([disk(0, { format: 'qcow2' })]), new Map());
      const { disks } = await snapshotDisks(plans, world.run);
      expect(disks[0]?.layout).toEqual({ format: 'qcow2', clusterSize: 4096 });
      const bytes = await dumpOf(world, disk(0, { format: 'qcow2' }));
      expect(bytes.equals(readFileSync(raw))).toBe(true);
    }));

  test.each(['raw', 'qcow2'] as const)(
    'a qcow2 disk in a file of TM qcow2 is read together with its %s image',
    (format) =>
      inWorld(async (world) => {
        const path = cloneAsQcow2Tm(world, 0, await image(world, format), format);
        qemuIo(path, 'write -P 17 1M 300k', 'write -z 5M 600k', 'write -P 18 15M 1M');
        const bytes = await dumpOf(world, disk(0, { format: 'qcow2', tmMad: 'qcow2' }));
        expect(bytes.equals(asQemuSees(world, 'qcow2', path))).toBe(true);
      }),
  );

  test('a qcow2 disk in a file with snapshots is read through the relative names OpenNebula gives them', () =>
    inWorld(async (world) => {
      const path = cloneAsQcow2Tm(world, 0, await image(world, 'qcow2'), 'qcow2');
      qemuIo(path, 'write -P 1 0 2M');
      // As tm/qcow2/snap_create does: the backing file is the link's old target.
      for (const [next, previous] of ['0', '1'].map((one, at) => [String(at + 1), one])) {
        execFileSync(
          'qemu-img',
          [
            ...['create', '-f', 'qcow2', '-o', 'backing_fmt=qcow2'],
            ...['-b', `disk.0.snap/${previous!}`, `${path}.snap/${next!}`],
          ],
          { cwd: `${path}.snap`, stdio: 'ignore' },
        );
        execFileSync('ln', ['-sfn', `disk.0.snap/${next!}`, path]);
        qemuIo(path, `write -P 2${next!} ${next!}M 700k`);
      }
      const bytes = await dumpOf(world, disk(0, { format: 'qcow2', tmMad: 'qcow2' }));
      expect(bytes.equals(asQemuSees(world, 'qcow2', path))).toBe(true);
      expect(bytes[2 * MiB]).toBe(22);
    }));

  test('a qcow2 disk in a file of a persistent image is read behind its absolute links', () =>
    inWorld(async (world) => {
      const path = await image(world, 'qcow2');
      mkdirSync(`${path}.snap`);
      symlinkSync('.', `${path}.snap/image.snap`);
      symlinkSync(path, `${path}.snap/0`);
      symlinkSync(`${path}.snap/0`, join(world.vmFolder, 'disk.0'));
      const persistent = disk(0, { format: 'qcow2', tmMad: 'qcow2', persistent: true });
      const bytes = await dumpOf(world, persistent);
      expect(bytes.equals(asQemuSees(world, 'qcow2', path))).toBe(true);
    }));

  test('a qcow2 disk in a file smaller and larger than its backing files reads as QEMU reads it', () =>
    inWorld(async (world) => {
      const base = await image(world, 'raw', 7 * MiB + 100);
      const path = cloneAsQcow2Tm(world, 0, base, 'raw');
      qemuImg('resize', '-f', 'qcow2', path, '20M');
      const bytes = await dumpOf(world, disk(0, { format: 'qcow2', tmMad: 'qcow2' }));
      expect(bytes.length).toBe(20 * MiB);
      expect(bytes.equals(asQemuSees(world, 'qcow2', path))).toBe(true);
    }));

  test('a qcow2 disk in a file left dirty by lazy refcounts is read', () =>
    inWorld(async (world) => {
      const path = join(world.vmFolder, 'disk.0');
      qemuImg('create', '-f', 'qcow2', '-o', 'lazy_refcounts=on', path, '8M');
      try {
        qemuIo(path, 'write -P 5 1M 1M', 'abort');
      } catch {
        // That is what `abort` is for.
      }
      const before = readFileSync(path);
      expect(before[79]).toBe(1);
      const bytes = await dumpOf(world, disk(0, { format: 'qcow2' }));
      expect(bytes.subarray(MiB, 2 * MiB).equals(Buffer.alloc(MiB, 5))).toBe(true);
      expect(readFileSync(path).equals(before)).toBe(true);
    }));

  test.each(['raw', 'qcow2'] as const)(
    'a disk in the format %s that is open for writing is refused before it is read: the guest may run',
    (format) =>
      inWorld(async (world) => {
        const path = join(world.vmFolder, 'disk.0');
        qemuImg('create', '-f', format, path, '8M');
        const socket = join(world.outside, 'writer');
        const args = ['-f', format, '-t', '-k', socket, path];
        const writer = spawn('qemu-nbd', args, { stdio: 'ignore' });
        const ended = new Promise((resolve) => writer.once('close', resolve));
        try {
          await until('the writer has the disk open', () => existsSync(socket));
          const attempt = dumpOf(world, disk(0, { format }));
          await expect(attempt).rejects.toThrow(
            `disk 0 of VM 7 is open for writing (${path}), although the VM is POWEROFF: its guest may run in spite of that`,
          );
          expect(world.commands.map(({ program }) => program)).not.toContain('qemu-nbd');
          expect(world.undone()).toEqual([]);
        } finally {
          writer.kill('SIGKILL');
          await ended;
        }
      }),
  );

  // Where nobody asks OpenNebula, the files alone tell that the VM was started meanwhile.
  describe('of a VM that is off', () => {
    const overlay = disk(0, { format: 'qcow2', tmMad: 'qcow2' });
    const readWhile = (change: (world: World, path: string) => void): Promise<void> =>
      inWorld(async (world) => {
        const path = cloneAsQcow2Tm(world, 0, await image(world, 'raw'), 'raw');
        const snapshot = await snapshotDisks(planDumps(vm([overlay]), new Map()), world.run);
        const reader = await snapshot.disks[0]!.open();
        await wholeDisk(reader);
        await reader.close();
        await expect(snapshot.requireUnwritten()).resolves.toBeUndefined();
        change(world, path);
        await snapshot.requireUnwritten();
      });

    test('the file of a VM that is off that was only read is as it was', () =>
      readWhile(() => undefined));

    test('the file of a VM that is off that was written to while it was read is refused at the end', () =>
      expect(
        readWhile((_, path) => {
          qemuIo(path, 'write -P 1 0 512');
        }),
      ).rejects.toThrow(
        /^disk 0 of VM 7 was written to while it was being read: .*disk.0.snap\/0/,
      ));

    test('the file of a VM that is off whose image was written to is refused at the end', () =>
      expect(
        readWhile(({ location }) => {
          const file = join(location, '1', 'image');
          execFileSync('dd', ['if=/dev/urandom', `of=${file}`, 'count=1', 'conv=notrunc'], {
            stdio: 'ignore',
          });
        }),
      ).rejects.toThrow(/was written to while it was being read: .*\/1\/image has changed/));

    test('the file of a VM that is off that was replaced is refused at the end', () =>
      expect(
        readWhile((_, path) => {
          execFileSync('cp', ['-p', `${path}.snap/0`, `${path}.copy`]);
          renameSync(`${path}.copy`, `${path}.snap/0`);
        }),
      ).rejects.toThrow('was written to while it was being read'));
  });
});

describe('the files of a disk', () => {
  test('the files of a disk that are missing are named together with disk and VM, before anything is started', () =>
    inWorld(async (world) => {
      await expect(dumpOf(world, disk(0))).rejects.toThrow(
        `disk 0 of VM 7 (${world.vmFolder}/disk.0): realpath: `,
      );
      expect(world.commands.map(({ program }) => program)).not.toContain('qemu-nbd');
      expect(world.undone()).toEqual([]);
    }));

  test('the files of a disk that are a device behind a link are refused by its name', () =>
    inWorld(async (world) => {
      symlinkSync('/dev/null', join(world.vmFolder, 'disk.0'));
      await expect(dumpOf(world, disk(0))).rejects.toThrow(
        /^disk 0 of VM 7 \(.*disk\.0\) leads to the device \/dev\/null; a disk of this storage must be a file$/,
      );
    }));

  test('the files of a disk that are no files are refused', () =>
    inWorld(async (world) => {
      execFileSync('mkfifo', [join(world.vmFolder, 'disk.0')]);
      await expect(dumpOf(world, disk(0))).rejects.toThrow('it is not a regular file');
    }));

  test('the files of a disk that lead out of the datastores are refused', () =>
    inWorld(async (world) => {
      await rawFile(join(world.outside, 'secret'), 4096);
      symlinkSync(join(world.outside, 'secret'), join(world.vmFolder, 'disk.0'));
      await expect(dumpOf(world, disk(0))).rejects.toThrow(
        `lies at ${world.outside}/secret, which is outside of ${world.location}`,
      );
    }));

  test('the files of a disk are read where a datastore is a link to its mount point', () =>
    inWorld(async (world) => {
      const mounted = join(world.outside, 'mounted');
      renameSync(join(world.location, '0'), mounted);
      symlinkSync(mounted, join(world.location, '0'));
      await rawFile(join(world.vmFolder, 'disk.0'), 4096, [[0, 4096]]);
      const bytes = await dumpOf(world, disk(0));
      expect(bytes.equals(readFileSync(join(mounted, '7', 'disk.0')))).toBe(true);
    }));

  test('the files of a disk are read from a folder that the configuration allows', () =>
    inWorld(
      async (world) => {
        const base = join(world.outside, 'golden', 'image');
        await rawFile(base, 4 * MiB, [[0, 4096]]);
        cloneAsQcow2Tm(world, 0, base, 'raw');
        const bytes = await dumpOf(world, disk(0, { format: 'qcow2', tmMad: 'qcow2' }));
        expect(bytes.equals(readFileSync(base))).toBe(true);
      },
      { allowed: ['golden'] },
    ));

  test('the files of a disk may have names that look like options and hold anything else', () =>
    inWorld(async (world) => {
      const base = join(world.location, '1', `-rf "a' $(id) \\ ü,b=c`);
      await rawFile(base, 4 * MiB, [[0, 4096]]);
      // qemu-img would take the comma for an option of its own: a hard link gives it a plain name.
      const path = cloneAsQcow2Tm(world, 0, base, 'raw');
      linkSync(base, join(world.location, '1', 'plain'));
      const bytes = await dumpOf(world, disk(0, { format: 'qcow2', tmMad: 'qcow2' }));
      expect(bytes.equals(readFileSync(base))).toBe(true);
      expect(path).toContain('disk.0');
    }));
});

describe('what is started for a dump', () => {
  test('what is started to read a file is gone after the reader was closed, and nothing is left to undo', () =>
    inWorld(async (world) => {
      await qcow2File(world, MiB, MiB);
      const { disks } = await snapshotDisks(
        planDumps(vm([disk(0, { format: 'qcow2' })]), new Map()),
        world.run,
      );
      expect(world.undone()).toEqual([]);
      const reader = await disks[0]!.open();
      const [folder, server] = world.undone();
      expect(server).toMatchObject({ kind: 'stop-process', program: 'qemu-nbd' });
      expect(folder).toMatchObject({ kind: 'remove-folder' });
      const path = String(folder?.['path']);
      expect(execFileSync('stat', ['-c', '%a', path]).toString()).toBe('700\n');
      await wholeDisk(reader);
      await Promise.all([reader.close(), reader.close()]);
      expect(world.undone()).toEqual([]);
      expect(() => execFileSync('pgrep', ['-f', path])).toThrow();
      expect(() => execFileSync('stat', [path], { stdio: 'ignore' })).toThrow();
    }));

  test('what is started to read a file never opens the image for writing, and spells out every layer', () =>
    inWorld(async (world) => {
      const base = await image(world, 'raw');
      cloneAsQcow2Tm(world, 0, base, 'raw');
      await dumpOf(world, disk(0, { format: 'qcow2', tmMad: 'qcow2' }));
      const server = world.commands.find(({ program }) => program === 'qemu-nbd');
      expect(server?.args).toContain('--read-only');
      expect(JSON.parse(server?.args.at(-1)?.slice('json:'.length) ?? '')).toEqual({
        driver: 'qcow2',
        'read-only': true,
        file: { driver: 'file', filename: `${world.vmFolder}/disk.0.snap/0` },
        backing: {
          driver: 'raw',
          'read-only': true,
          file: { driver: 'file', filename: base },
        },
      });
    }));

  test('what is started to read a file ends when its reader was interrupted, with the reason of the interruption', () => {
    const abort = new AbortController();
    return inWorld(
      async (world) => {
        await qcow2File(world, 64 * MiB, 32 * MiB);
        const { disks } = await snapshotDisks(
          planDumps(vm([disk(0, { format: 'qcow2' })]), new Map()),
          world.run,
        );
        const reader = await disks[0]!.open();
        const path = String(world.undone()[0]?.['path']);
        const attempt = (async () => {
          for await (const piece of reader.read([{ offset: 0, length: 64 * MiB }])) {
            if (piece.length > 0) abort.abort(new InterruptedError('SIGINT'));
          }
        })();
        await expect(attempt).rejects.toThrow(new InterruptedError('SIGINT'));
        await reader.close();
        expect(() => execFileSync('pgrep', ['-f', path])).toThrow();
        // `rm` was cut off by the interruption or not: if so, the folder is left to the journal.
        const left = world.undone().map(({ kind }) => kind);
        expect([[], ['remove-folder']]).toContainEqual(left);
        rmSync(path, { recursive: true, force: true });
      },
      { signal: abort.signal },
    );
  });

  test('what is started to read a file that dies in the middle is reported with its end', () =>
    inWorld(async (world) => {
      await qcow2File(world, 64 * MiB, 64 * MiB);
      const { disks } = await snapshotDisks(
        planDumps(vm([disk(0, { format: 'qcow2' })]), new Map()),
        world.run,
      );
      const reader = await disks[0]!.open();
      const path = String(world.undone()[0]?.['path']);
      let killed = false;
      const attempt = (async () => {
        for await (const piece of reader.read([{ offset: 0, length: 64 * MiB }])) {
          if (piece.length === 0 || killed) continue;
          const found = execFileSync('pgrep', ['-f', `^qemu-nbd.*${path}`]).toString();
          process.kill(Number(found.trim()), 'SIGKILL');
          killed = true;
          await sleep(100);
        }
      })();
      await expect(attempt).rejects.toThrow(/^cannot read disk 0 of VM 7: qemu-nbd ended early/);
      await reader.close();
      expect(world.undone()).toEqual([]);
    }));

  test('what is started to read a file ends by itself when this process is killed', () =>
    inWorld(async (world) => {
      const path = join(world.vmFolder, 'disk.0');
      await rawFile(path, 8 * MiB, [[0, 8 * MiB]]);
      const program = join(world.outside, 'program.mjs');
      buildSync({
        stdin: {
          resolveDir: import.meta.dirname,
          loader: 'ts',
          contents: `
            import { serveImage } from '../../lib/storage/image-server.ts';
            import { localRunner } from '../../lib/run/local-runner.ts';
            const log = { debug() {}, info() {}, warn() {}, error() {} };
            const journal = { async record(undo) {
              console.log(undo.path ?? '');
              return { async done() {} };
            } };
            const runner = localRunner(log);
            const node = { driver: 'raw', path: ${JSON.stringify(path)} };
            const run = { runner, journal, log, signal: new AbortController().signal };
            await serveImage({ node, virtualSize: ${8 * MiB} }, 'it', run);
            console.log('open');
            setInterval(() => {}, 1000);`,
        },
        ...{ outfile: program, bundle: true, platform: 'node', format: 'esm', logLevel: 'error' },
        banner: {
          js: 'import { createRequire } from "module"; const require = createRequire(import.meta.url);',
        },
      });
      const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      child.stdout.on('data', (data: Buffer) => (output += data.toString()));
      while (!output.includes('open')) await sleep(10);
      const folder = output.split('\n')[0]!;
      expect(execFileSync('pgrep', ['-f', `^qemu-nbd.*${folder}`]).toString()).not.toBe('');
      child.kill('SIGKILL');
      const gone = (): boolean =>
        spawnSync('pgrep', ['-f', `^qemu-nbd.*${folder}`]).stdout.length === 0;
      await until('qemu-nbd has ended', gone);
      rmSync(folder, { recursive: true });
    }));

  test('what is started to read a file that is not installed is said so', () =>
    inWorld(async (world) => {
      await qcow2File(world, 4096, 0);
      const bin = join(world.outside, 'bin');
      mkdirSync(bin);
      for (const tool of ['realpath', 'stat', 'head', 'mkdir', 'dd', 'rm', 'sh', 'qemu-img']) {
        writeFileSync(join(bin, tool), `#!/bin/sh\nexec /usr/bin/${tool} "$@"\n`);
        chmodSync(join(bin, tool), 0o755);
      }
      const { PATH } = process.env;
      process.env['PATH'] = bin;
      try {
        await expect(dumpOf(world, disk(0, { format: 'qcow2' }))).rejects.toThrow(
          'cannot start qemu-nbd: is not installed',
        );
      } finally {
        process.env['PATH'] = PATH;
        for (const one of world.undone()) {
          if (one.kind === 'remove-folder') rmSync(String(one['path']), { recursive: true });
        }
      }
    }));
});
