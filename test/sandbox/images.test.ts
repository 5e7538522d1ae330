import { execFileSync } from 'node:child_process';
import {
  copyFile,
  mkdtemp,
  open,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { call, mustCall } from './call.ts';
import { startSandbox } from './sandbox.ts';
import type { Sandbox } from './sandbox.ts';

let dir: string;
let sandbox: Sandbox;
let raw: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sandbox-images-'));
  sandbox = await startSandbox({
    dir: join(dir, 'one'),
    safeDirs: join(dir, 'safe'),
    imageCopyMs: 0,
  });
  execFileSync('mkdir', [join(dir, 'safe')]);
  raw = join(dir, 'safe', 'disk.raw');
  const file = await open(raw, 'w');
  await file.write('hello', 3 * 1048576);
  await file.truncate(8 * 1048576);
  await file.close();
});

afterEach(async () => {
  await sandbox.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Allocates an image, waits for it, and returns its XML. */
async function allocate(template: string, datastore = 1): Promise<string> {
  const id = Number(await mustCall(sandbox, 'one.image.allocate', template, datastore, false));
  await sandbox.settle();
  return mustCall(sandbox, 'one.image.info', id);
}

function field(xml: string, name: string): string {
  return new RegExp(`<${name}>(?:<!\\[CDATA\\[)?(.*?)(?:]]>)?</${name}>`, 's').exec(xml)?.[1] ?? '';
}

describe('an image by path', () => {
  test('an image that the stand-in makes by path is READY with a copy that has the same bytes and its holes', async () => {
    const xml = await allocate(`NAME="a" PATH="${raw}"`);
    expect(field(xml, 'STATE')).toBe('1');
    expect(field(xml, 'FORMAT')).toBe('raw');
    expect(field(xml, 'SIZE')).toBe('8');
    const source = field(xml, 'SOURCE');
    expect(source).toMatch(/\/one\/\/datastores\/1\/[0-9a-f]{32}$/);
    expect(() => execFileSync('cmp', [raw, source])).not.toThrow();
    expect((await stat(source)).blocks * 512).toBeLessThan(1048576);
  });

  test('an image that the stand-in makes by path is LOCKED while it is copied, and other calls are answered meanwhile', async () => {
    sandbox.imageCopyMs = 60_000;
    const id = Number(await mustCall(sandbox, 'one.image.allocate', `NAME="a" PATH="${raw}"`, 1));
    expect(field(await mustCall(sandbox, 'one.image.info', id), 'STATE')).toBe('4');
    expect(await mustCall(sandbox, 'one.system.version')).toBe('6.10.5');
  });

  test('an image that the stand-in makes by path is converted to the DRIVER of its datastore', async () => {
    const xml = await allocate(`NAME="a" PATH="${raw}"`, 101);
    expect(field(xml, 'FORMAT')).toBe('qcow2');
    const compare = ['compare', '-f', 'raw', '-F', 'qcow2', raw, field(xml, 'SOURCE')];
    expect(execFileSync('qemu-img', compare).toString()).toContain('identical');
  });

  test('an image that the stand-in makes by path is not converted when it is a CD-ROM', async () => {
    const xml = await allocate(`NAME="a" TYPE=CDROM PATH="${raw}"`, 101);
    expect(field(xml, 'FORMAT')).toBe('raw');
    expect(field(xml, 'DEV_PREFIX')).toBe('hd');
  });

  test('an image that the stand-in makes by path keeps its attributes and loses those that oned makes itself', async () => {
    const more = 'PERSISTENT=yes DESCRIPTION="a \\"b\\"" DEV_PREFIX=vd FORMAT=qcow2 DRIVER=qcow2';
    const xml = await allocate(`NAME="a" TYPE=DATABLOCK PATH="${raw}" ${more}`);
    expect(field(xml, 'TYPE')).toBe('2');
    expect(field(xml, 'PERSISTENT')).toBe('1');
    expect(field(xml, 'FORMAT')).toBe('raw');
    expect(xml).toContain(
      '<TEMPLATE><DESCRIPTION><![CDATA[a "b"]]></DESCRIPTION><DEV_PREFIX><![CDATA[vd]]></DEV_PREFIX></TEMPLATE>',
    );
  });

  test.each([
    ['outside the safe folders', async () => Promise.resolve('/etc/passwd')],
    [
      'that is a link out of them',
      async () => {
        const link = join(dir, 'safe', 'link');
        await symlink('/etc/passwd', link);
        return link;
      },
    ],
  ])(
    'an image that the stand-in makes by path goes to ERROR for a file %s',
    async (_where, make) => {
      const path = await make();
      const xml = await allocate(`NAME="a" PATH="${path}"`);
      expect(field(xml, 'STATE')).toBe('5');
      expect(field(xml, 'ERROR')).toContain(
        `Not allowed to copy image from ${path}, check RESTRICTED_DIRS in your datastore`,
      );
      expect(await readdir(join(dir, 'one', 'datastores', '1'))).toEqual([]);
    },
  );

  test('an image that the stand-in makes by path is decompressed when its first bytes look like gzip, and the sandbox remembers it', async () => {
    await writeFile(raw, gzipSync(Buffer.alloc(2 * 1048576, 'x')));
    const xml = await allocate(`NAME="a" PATH="${raw}"`);
    expect(field(xml, 'SIZE')).toBe('2');
    expect((await stat(field(xml, 'SOURCE'))).size).toBe(2 * 1048576);
    expect(sandbox.unpacked).toEqual([{ path: raw, type: 'application/gzip' }]);
  });

  test('an image that the stand-in makes by path goes to ERROR when it looks like a tar archive', async () => {
    execFileSync('tar', ['-cf', join(dir, 'safe', 'x.raw'), '-C', dir, 'safe/disk.raw']);
    const xml = await allocate(`NAME="a" PATH="${join(dir, 'safe', 'x.raw')}"`);
    expect(field(xml, 'STATE')).toBe('5');
    expect(field(xml, 'ERROR')).toContain('Unknown image format');
  });

  test('an image that the stand-in makes by path that names a backing file is noted, since OpenNebula would open it', async () => {
    const overlay = join(dir, 'safe', 'disk.qcow2');
    const target = join(dir, 'secret');
    await copyFile(raw, target);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', target, '-F', 'raw', overlay]);
    const xml = await allocate(`NAME="a" PATH="${overlay}"`);
    expect(field(xml, 'FORMAT')).toBe('qcow2');
    expect(new Set(sandbox.probedBackingFiles.map((one) => one.backing))).toEqual(
      new Set([target]),
    );
  });

  test('an image that the stand-in makes by path of no bytes is refused', async () => {
    await writeFile(raw, '');
    expect(await call(sandbox, 'one.image.allocate', `NAME="a" PATH="${raw}"`, 1)).toEqual({
      ok: false,
      code: 8192,
      value: '[one.image.allocate] Cannot parse image SIZE: Runtime error during size estimation',
    });
  });
});

describe('an image by HTTP', () => {
  const served: string[] = [];
  const server = createServer((request, response) => {
    served.push(request.method ?? '');
    void readFile(raw).then((bytes) => {
      if (request.url !== '/disk') response.writeHead(404).end();
      else
        response
          .writeHead(200, { 'Content-Length': bytes.length })
          .end(request.method === 'HEAD' ? '' : bytes);
    });
  });

  beforeEach(async () => {
    served.length = 0;
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const url = (path: string): string =>
    `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;

  test('an image that the stand-in fetches by HTTP has the same bytes, whatever SAFE_DIRS says, and a raw one is asked for its length', async () => {
    const xml = await allocate(`NAME="a" PATH="${url('/disk')}"`);
    expect(field(xml, 'STATE')).toBe('1');
    expect(() => execFileSync('cmp', [raw, field(xml, 'SOURCE')])).not.toThrow();
    expect(served.filter((method) => method === 'HEAD')).toHaveLength(1);
    expect(served.filter((method) => method === 'GET').length).toBeGreaterThanOrEqual(4);
  });

  test('an image that the stand-in fetches by HTTP of format qcow2 is registered with its virtual size', async () => {
    const qcow2 = join(dir, 'disk.qcow2');
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
    raw = qcow2;
    const xml = await allocate(`NAME="a" PATH="${url('/disk')}"`);
    expect([field(xml, 'FORMAT'), field(xml, 'SIZE')]).toEqual(['qcow2', '8']);
    expect(() => execFileSync('cmp', [qcow2, field(xml, 'SOURCE')])).not.toThrow();
  });

  test('an image that the stand-in fetches by HTTP that is not there is refused with the misleading words of the driver', async () => {
    const missing = url('/nothing');
    expect(await call(sandbox, 'one.image.allocate', `NAME="a" PATH="${missing}"`, 1)).toEqual({
      ok: false,
      code: 8192,
      value: `[one.image.allocate] Cannot parse image SIZE: cannot access '${missing}' (Permission denied)`,
    });
  });
});

test('an image without a path is made empty, in the format of the datastore', async () => {
  const xml = await allocate('NAME="a" TYPE=DATABLOCK SIZE=5', 101);
  expect([field(xml, 'FORMAT'), field(xml, 'SIZE'), field(xml, 'STATE')]).toEqual([
    'qcow2',
    '5',
    '1',
  ]);
});

test('an image larger than the datastore is refused, unless oneadmin insists', async () => {
  const file = await open(raw, 'w');
  await file.truncate(2 ** 43);
  await file.close();
  sandbox.imageCopyMs = 60_000;
  const args = ['one.image.allocate', `NAME="a" PATH="${raw}"`, 1] as const;
  expect(await call(sandbox, ...args, false)).toEqual({
    ok: false,
    code: 2048,
    value: '[one.image.allocate] Not enough space in datastore',
  });
  expect((await call(sandbox, ...args, true)).ok).toBe(true);
});

test('a plain user of the stand-in may not name a SOURCE', async () => {
  const bob = { ...sandbox, authFile: await sandbox.addUser('bob') };
  const template = 'NAME="a" SOURCE="/x" FORMAT=raw SIZE=1';
  expect(await call(bob, 'one.image.allocate', template, 1)).toEqual({
    ok: false,
    code: 512,
    value: '[one.image.allocate] User [2] : Template includes a restricted attribute SOURCE.',
  });
});

test('the same name of an image is free for another user of the stand-in', async () => {
  await allocate(`NAME="a" PATH="${raw}"`);
  const bob = { ...sandbox, authFile: await sandbox.addUser('bob') };
  expect((await call(bob, 'one.image.allocate', `NAME="a" PATH="${raw}"`, 1)).ok).toBe(true);
});

test('a deleted image of the stand-in is gone with its file', async () => {
  const xml = await allocate(`NAME="a" PATH="${raw}"`);
  await mustCall(sandbox, 'one.image.delete', Number(field(xml, 'ID')));
  await sandbox.settle();
  expect((await call(sandbox, 'one.image.info', Number(field(xml, 'ID')))).code).toBe(1024);
  await expect(stat(field(xml, 'SOURCE'))).rejects.toThrow('ENOENT');
});

test('persistence, type and owner of an image can be changed in the stand-in', async () => {
  const bob = await sandbox.addUser('bob');
  const id = Number(field(await allocate(`NAME="a" PATH="${raw}"`), 'ID'));
  await mustCall(sandbox, 'one.image.persistent', id, true);
  await mustCall(sandbox, 'one.image.chtype', id, 'datablock');
  await mustCall(sandbox, 'one.image.chown', id, 2, 1);
  const xml = await mustCall({ ...sandbox, authFile: bob }, 'one.image.info', id);
  expect(['PERSISTENT', 'TYPE', 'UNAME', 'GNAME'].map((name) => field(xml, name))).toEqual([
    '1',
    '2',
    'bob',
    'users',
  ]);
});
