// qemu-img, the real one: formats are declared, whatever a file's bytes or its name say.
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import {
  convertImage,
  createQcow2Scratch,
  isOpenForWriting,
  wrapInQcow2,
} from '../../lib/tools/qemu-img.ts';
import { inFolder, quiet, withQemuNbd } from '../support/nbd-servers.ts';
import { hostileNames, withFakes } from './fake-on-path.ts';

const runner = localRunner(quiet);
const MiB = 1024 * 1024;

/** Facts by qemu-img itself, which is told the format and, by a path after `file:`, that this is a name. */
function info(format: string, path: string): Record<string, unknown> {
  const args = ['info', '--output=json', '-f', format, `file:${path}`];
  return JSON.parse(execFileSync('qemu-img', args, { encoding: 'utf8' })) as Record<
    string,
    unknown
  >;
}

test('an image is converted with both formats declared, without a time limit', () =>
  withFakes({ 'qemu-img': '' }, async (fakes) => {
    await convertImage(fakes.runner, ['qcow2', '/a b'], ['raw', '/c']);
    await wrapInQcow2(fakes.runner, '/raw', '/new');
    expect(await fakes.calls()).toEqual([
      ['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', '/a b', '/c'],
      ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '/raw', '/new'],
    ]);
  }));

test('a conversion that fails says what was being done, and why in the words of qemu-img', () =>
  inFolder(async (folder) => {
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    writeFileSync(from, 'no qcow2');
    await expect(convertImage(runner, ['qcow2', from], ['raw', to])).rejects.toThrow(
      `cannot convert ${from} to raw: qemu-img: Could not open '${from}': Image is not in qcow2 format`,
    );
  }));

test('a raw disk whose content is a qcow2 header is wrapped as it is', () =>
  inFolder(async (folder) => {
    const [inner, outer, back] = ['inner', 'outer', 'back'].map((name) => join(folder, name));
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', inner ?? '', '1G']);
    await wrapInQcow2(runner, inner ?? '', outer ?? '');
    const bytes = readFileSync(inner ?? '');
    // In whole sectors.
    const size = Math.ceil(bytes.length / 512) * 512;
    expect(info('qcow2', outer ?? '')).toMatchObject({ format: 'qcow2', 'virtual-size': size });
    await convertImage(runner, ['qcow2', outer ?? ''], ['raw', back ?? '']);
    expect(
      readFileSync(back ?? '')
        .subarray(0, bytes.length)
        .equals(bytes),
    ).toBe(true);
  }));

test.each(hostileNames)(
  'a file named %j is seen to be open for writing, and to be closed again',
  (name) =>
    inFolder(async (folder) => {
      const path = join(folder, name);
      writeFileSync(path, Buffer.alloc(MiB));
      expect(await isOpenForWriting(runner, path, 'disk 0')).toBe(false);
      const image = `json:${JSON.stringify({ driver: 'raw', file: { driver: 'file', filename: path } })}`;
      const keepOpen = ['qemu-io', '-c', 'sleep 60000', image] as const;
      await holding(keepOpen, async () => {
        for (let tries = 0; !(await isOpenForWriting(runner, path, 'disk 0')); tries++) {
          expect(tries).toBeLessThan(200);
        }
      });
      expect(await isOpenForWriting(runner, path, 'disk 0')).toBe(false);
      expect(readdirSync(folder)).toEqual([name]);
    }),
);

test('a file that only readers have open is not open for writing', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'disk');
    writeFileSync(path, Buffer.alloc(MiB));
    await withQemuNbd(['-f', 'raw', path], async () => {
      expect(await isOpenForWriting(runner, path, 'disk 0')).toBe(false);
    });
  }));

test.each(['blkdebug', 'unshare-child-perms', 'Failed to get "write" lock'])(
  'a file that cannot be opened is an error, even when its name is %j',
  (name) =>
    inFolder(async (folder) => {
      const path = join(folder, name);
      await expect(isOpenForWriting(runner, path, 'disk 0')).rejects.toThrow(
        /^cannot open disk 0: qemu-img: .*No such file/,
      );
    }),
);

test.each([
  ["Unknown driver 'blkdebug'", undefined],
  ["Block driver 'blkdebug' does not support the option 'unshare-child-perms'", undefined],
  ['Failed to get shared "write" lock', true],
  ['Failed to get "write" lock', true],
])('QEMU that says %j has been asked whether a file is open for writing: %s', (says, answer) =>
  withFakes(
    { 'qemu-img': `echo "qemu-img: Could not open 'json:{}': "'${says}' >&2; exit 1` },
    async (fakes) => {
      expect(await isOpenForWriting(fakes.runner, '/disk', 'disk 0')).toBe(answer);
    },
  ),
);

test.each(hostileNames)('a scratch file named %j is an empty qcow2 file of its owner', (name) =>
  inFolder(async (folder) => {
    const path = join(folder, name);
    await createQcow2Scratch(runner, path, 3 * MiB, '65534:65534');
    expect(info('qcow2', path)).toMatchObject({ format: 'qcow2', 'virtual-size': 3 * MiB });
    const { mode, uid } = statSync(path);
    expect({ mode: mode & 0o777, uid }).toEqual({
      mode: 0o600,
      // Only root can give a file away.
      uid: userInfo().uid === 0 ? 65534 : userInfo().uid,
    });
    expect(readdirSync(folder)).toEqual([name]);
  }),
);

test('a scratch file is made in the place of nothing, and through no link', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'scratch');
    writeFileSync(path, 'somebody’s');
    await expect(createQcow2Scratch(runner, path, MiB, undefined)).rejects.toThrow(
      `cannot make the scratch file ${path}: sh: `,
    );
    expect(readFileSync(path, 'utf8')).toBe('somebody’s');
    const link = join(folder, 'link');
    symlinkSync(join(folder, 'victim'), link);
    await expect(createQcow2Scratch(runner, link, MiB, undefined)).rejects.toThrow(
      `cannot make the scratch file ${link}`,
    );
    symlinkSync('/dev/null', join(folder, 'device'));
    await expect(
      createQcow2Scratch(runner, join(folder, 'device'), MiB, undefined),
    ).rejects.toThrow('device is there already');
    expect(readdirSync(folder).sort()).toEqual(['device', 'link', 'scratch']);
  }));

/** Runs a program while `body` runs. */
async function holding(
  [program, ...args]: readonly [string, ...string[]],
  body: () => Promise<void>,
): Promise<void> {
  const service = await runner.start({ program, args });
  try {
    await body();
  } finally {
    await service.stop();
  }
}
