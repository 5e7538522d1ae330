import { describe, expect, test } from '@jest/globals';
import {
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { FailedError, UnsupportedError } from '../../lib/report/errors.ts';
import type { Command, Runner } from '../../lib/run/runner.ts';
import { inspectImage } from '../../lib/storage/file/image-chain.ts';
import type { BlockNode } from '../../lib/tools/qemu-nbd.ts';
import {
  cloneAsQcow2Tm,
  disk,
  dumpOf,
  inWorld,
  MiB,
  qemuImg,
  qemuIo,
  rawFile,
  type World,
} from '../support/storage-world.ts';

const qcow2 = disk(0, { format: 'qcow2', tmMad: 'qcow2' });

/** disk.0 as a qcow2 file with this backing file in its header, which nobody looked at. */
function backedBy(world: World, name: string, ...format: readonly string[]): void {
  const path = join(world.vmFolder, 'disk.0');
  qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', name, ...format, path, '4M');
}

async function refusal(world: World, one = qcow2): Promise<Error> {
  const error: unknown = await dumpOf(world, one).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(world.commands.map(({ program }) => program)).not.toContain('qemu-nbd');
  expect(world.undone()).toEqual([]);
  return error as Error;
}

describe('a backing file', () => {
  test.each([
    'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}',
    'nbd:unix:/run/secret',
    'nbd://localhost/x',
    'http://169.254.169.254/latest',
    'ssh://root@host/etc/shadow',
    'file:/etc/passwd',
    'fd:0',
    'rbd:pool/image',
  ])('a backing file named %s is refused', (name) =>
    inWorld(async (world) => {
      backedBy(world, name, '-F', 'raw');
      const error = await refusal(world);
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error.message).toContain(name);
    }),
  );

  test.each([
    ['/etc/passwd', /^the backing file .* of disk 0 of VM 7 lies at .* outside of/],
    ['../../../secret', /^the backing file .* of disk 0 of VM 7 lies at .* outside of/],
    ['/dev/null', /^the backing file .* of disk 0 of VM 7 leads to the device \/dev\/null/],
  ])('a backing file at %s is refused', (name, why) =>
    inWorld(async (world) => {
      await rawFile(join(world.outside, 'secret'), 4096);
      backedBy(world, name, '-F', 'raw');
      const error = await refusal(world);
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error.message).toMatch(why);
    }),
  );

  test('a backing file behind a link that leads out of the datastores is refused', () =>
    inWorld(async (world) => {
      await rawFile(join(world.outside, 'secret'), 4096);
      symlinkSync(join(world.outside, 'secret'), join(world.location, '1', 'image'));
      backedBy(world, join(world.location, '1', 'image'), '-F', 'raw');
      expect((await refusal(world)).message).toContain('outside of');
    }));

  test('a backing file whose folder only begins like a datastore’s is refused', () =>
    inWorld(async (world) => {
      const name = join(`${world.location}-old`, 'image');
      await rawFile(name, 4096);
      backedBy(world, name, '-F', 'raw');
      expect((await refusal(world)).message).toContain('outside of');
    }));

  test('a backing file that is missing is named together with the file that names it', () =>
    inWorld(async (world) => {
      const name = join(world.location, '1', 'gone');
      backedBy(world, name, '-F', 'raw');
      const error = await refusal(world);
      expect(error).toBeInstanceOf(FailedError);
      expect(error.message).toContain(
        `(${world.vmFolder}/disk.0) has the backing file ${name}, which`,
      );
    }));

  test('a backing file that is a folder is refused', () =>
    inWorld(async (world) => {
      mkdirSync(join(world.location, '1', 'image'));
      backedBy(world, join(world.location, '1', 'image'), '-F', 'raw');
      expect((await refusal(world)).message).toContain('not a regular file');
    }));

  test('a backing file in a format that cannot be handled is refused', () =>
    inWorld(async (world) => {
      await rawFile(join(world.location, '1', 'image'), MiB);
      backedBy(world, join(world.location, '1', 'image'), '-F', 'vmdk');
      expect((await refusal(world)).message).toContain('in the format vmdk');
    }));

  test('a backing file that is declared as qcow2 and is none is refused', () =>
    inWorld(async (world) => {
      await rawFile(join(world.location, '1', 'image'), MiB);
      backedBy(world, join(world.location, '1', 'image'), '-F', 'qcow2');
      expect((await refusal(world)).message).toContain('is not a qcow2 file');
    }));

  test('a backing file of itself is refused', () =>
    inWorld(async (world) => {
      backedBy(world, '../7/disk.0', '-F', 'qcow2');
      expect((await refusal(world)).message).toContain('is its own backing file');
    }));

  test('a backing file that two names lead to differently is refused', () =>
    inWorld(async (world) => {
      // QEMU takes one or the other, depending on the name by which it was told to open the disk.
      const folder = join(world.vmFolder, 'disk.0.snap');
      await rawFile(join(folder, 'base'), MiB, [[0, 512]]);
      await rawFile(join(world.vmFolder, 'base'), MiB, [[0, 512]]);
      backedBy(world, 'base', '-F', 'raw');
      renameSync(join(world.vmFolder, 'disk.0'), join(folder, '0'));
      symlinkSync('disk.0.snap/0', join(world.vmFolder, 'disk.0'));
      expect((await refusal(world)).message).toContain('which can be');
    }));
});

describe('a header that does not say the format of its backing file', () => {
  /** An image and a clone of it whose header was written by an old qemu-img. */
  async function undeclared(world: World): Promise<string> {
    const image = join(world.location, '1', 'image');
    await rawFile(`${image}.raw`, 4 * MiB, [[MiB, 4096]]);
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', `${image}.raw`, image);
    const path = join(world.vmFolder, 'disk.0');
    qemuImg('create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', path, '4M');
    // Renames the extension that holds the format: QEMU and we ignore what we do not know.
    const bytes = readFileSync(path);
    const at = bytes.indexOf(Buffer.from('e2792aca', 'hex'));
    bytes.writeUInt32BE(0x12345678, at);
    writeFileSync(path, bytes);
    return image;
  }

  test('a qcow2 header that does not say the format of its backing file is read when the backing file is the image OpenNebula made the disk from', () =>
    inWorld(async (world) => {
      const image = await undeclared(world);
      const source = image.replace('/1/', '//1/');
      const bytes = await dumpOf(world, { ...qcow2, source });
      expect(bytes.equals(readFileSync(`${image}.raw`))).toBe(true);
    }));

  test('a qcow2 header that does not say the format of its backing file is refused otherwise, with the command that mends it', () =>
    inWorld(async (world) => {
      await undeclared(world);
      const error = await refusal(world, { ...qcow2, source: `${world.location}/1/other` });
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error.message).toContain('qemu-img rebase -u -f qcow2 -F');
    }));
});

describe('a chain', () => {
  test('a chain of qcow2 files with relative and absolute names is followed to its end', () =>
    inWorld(async (world) => {
      const folder = join(world.location, '1');
      await rawFile(join(folder, 'base'), 4 * MiB, [[MiB, 70_000]]);
      qemuImg('create', '-f', 'qcow2', '-b', 'base', '-F', 'raw', join(folder, 'middle'));
      cloneAsQcow2Tm(world, 0, join(folder, 'middle'), 'qcow2');
      expect((await dumpOf(world, qcow2)).equals(readFileSync(join(folder, 'base')))).toBe(true);
    }));

  test('a chain of qcow2 files with a layer that is marked as corrupt is refused by the name of that layer', () =>
    inWorld(async (world) => {
      const image = join(world.location, '1', 'image');
      qemuImg('create', '-f', 'qcow2', image, '4M');
      cloneAsQcow2Tm(world, 0, image, 'qcow2');
      const bytes = readFileSync(image);
      bytes[79] = 2;
      writeFileSync(image, bytes);
      expect((await refusal(world)).message).toMatch(
        new RegExp(`^the backing file ${image} of disk 0 of VM 7 is marked as corrupt`),
      );
    }));

  test('a chain of qcow2 files with a layer that was cut short is refused by the name of that layer', () =>
    inWorld(async (world) => {
      const image = join(world.location, '1', 'image');
      qemuImg('create', '-f', 'qcow2', image, '4M');
      qemuIo(image, 'write -P 7 0 4M');
      cloneAsQcow2Tm(world, 0, image, 'qcow2');
      truncateSync(image, 2 * MiB);
      const error = await refusal(world);
      expect(error).toBeInstanceOf(FailedError);
      expect(error.message).toMatch(
        new RegExp(
          `^the backing file ${image} of disk 0 of VM 7 was cut short: .*qemu-img check -f qcow2 ${image}$`,
        ),
      );
    }));

  test('a chain of qcow2 files on a raw image that is shorter than its ORIGINAL_SIZE is refused by the name of the image', () =>
    inWorld(async (world) => {
      const image = join(world.location, '1', 'image');
      await rawFile(image, 2 * MiB);
      cloneAsQcow2Tm(world, 0, image, 'raw');
      const source = { source: image, sizeMb: 20 };
      const cut = disk(0, { ...qcow2, ...source, originalSizeMb: 3 });
      expect((await refusal(world, cut)).message).toBe(
        `the backing file ${image} of disk 0 of VM 7 was cut short: the file has ${2 * MiB} bytes, but its SIZE in OpenNebula is 3 MiB`,
      );
      await dumpOf(world, disk(0, { ...qcow2, ...source, originalSizeMb: 2 }));
    }));

  test('a chain of 256 qcow2 files is followed to its end, and one of 257 is refused', () =>
    inWorld(async (world) => {
      const first = join(world.vmFolder, 'l0');
      qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', 'l1', '-F', 'qcow2', first, '1M');
      const inspect = (layers: number) => {
        const request = { path: first, format: 'qcow2', label: 'disk 0', sizeMb: 1 } as const;
        const folders = [world.location];
        const runner = runnerOnChain(world.run.runner, readFileSync(first), layers);
        return inspectImage({ ...request, folders, source: undefined }, runner);
      };
      let layers = 0;
      let node: BlockNode | null | undefined = (await inspect(256)).node;
      for (; node; node = node.driver === 'qcow2' ? node.backing : null) layers++;
      expect(layers).toBe(256);
      await expect(inspect(257)).rejects.toThrow('disk 0 has more than 256 layers');
    }));
});

/**
 * Answers as the programs would that look at a chain of files `l0`, `l1` and so on, each a copy of the first but for the
 * name it has of the next. To start them for each of hundreds of files would take minutes.
 */
function runnerOnChain(real: Runner, first: Buffer, layers: number): Runner {
  const file = (path: string): Buffer => {
    const layer = Number(/l([0-9]+)$/.exec(path)?.[1]);
    const name = Buffer.from(`l${layer + 1}`);
    const copy = Buffer.from(first);
    // The place and length of the backing file's name: docs/interop/qcow2.txt of QEMU.
    const nameAt = Number(first.readBigUInt64BE(8));
    if (layer + 1 === layers) copy.fill(0, 8, 20);
    else copy.writeUInt32BE(name.copy(copy, nameAt), 16);
    return copy;
  };
  const answer = ({ program, args }: Command): Buffer => {
    const path = args.at(-1) ?? '';
    if (program === 'realpath')
      return Buffer.from(args.slice(args.indexOf('--') + 1).join('\0') + '\0');
    if (program === 'stat') return Buffer.from(`81a4 ${first.length}`);
    if (program === 'head') return file(path).subarray(0, Number(args[1]));
    // The parts of a file, by offset and length.
    const [at = '', ...numbers] = args.slice(3);
    const parts: Buffer[] = [];
    for (let n = 0; n < numbers.length; n += 2) {
      const offset = Number(numbers[n]);
      parts.push(file(at).subarray(offset, offset + Number(numbers[n + 1])));
    }
    return Buffer.concat(parts);
  };
  return {
    ...real,
    run: (command) => Promise.resolve({ stdout: answer(command), stderr: '', status: 0 }),
  };
}
