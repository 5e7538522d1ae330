// Bundles read on another machine, against a real sshd on loopback.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConnectionError } from '../../lib/report/errors.ts';
import { openSshSource } from '../../lib/bundle/location/ssh-source.ts';
import { parseBundleAddress } from '../../lib/bundle/location/bundle-address.ts';
import { connectionsTo, useSshd, type Connected } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

let sshd: TestSshd;
let restorePath: () => void;
let host: Connected;
let folder: string;
let path: string;
const bytes = randomBytes(7 * 1024 * 1024 + 123);

beforeAll(async () => {
  sshd = await startSshd();
  restorePath = useSshd(sshd);
  host = connectionsTo(sshd.host);
  folder = await mkdtemp(join(tmpdir(), "onevmdump-source 'x' $(y)-"));
  path = join(folder, 'a\nbundle');
  await writeFile(path, bytes);
});

afterAll(async () => {
  await host.close();
  restorePath();
  await sshd.stop();
  await rm(folder, { recursive: true });
});

describe('a bundle on another machine', () => {
  test('a bundle on another machine is read at any place, also by several at once', async () => {
    const source = await openSshSource(host.runner, path, 'host:bundle');
    expect(source.size).toBe(bytes.length);
    const places = [
      [bytes.length - 100, 1000], [0, 10], [1024 * 1024 - 5, 10], [3_000_000, 2_500_000], [0, 0],
      [bytes.length, 5], ...Array.from({ length: 28 }, (_, index) => [index * 262_144, 262_144]),
    ] as const; // prettier-ignore
    await Promise.all(
      places.map(async ([offset, length]) => {
        const read = await source.read(offset, length);
        expect(read.equals(bytes.subarray(offset, offset + length))).toBe(true);
      }),
    );
    await source.close();
  });

  test('a bundle on another machine that is missing or a folder is refused', async () => {
    await expect(openSshSource(host.runner, join(folder, 'no'), 'host:no')).rejects.toThrow(
      'cannot open bundle host:no: no such file',
    );
    await expect(openSshSource(host.runner, folder, 'host:x')).rejects.toThrow(
      'cannot open bundle host:x: it is not a regular file',
    );
  });

  test('a bundle on another machine whose connection is lost says so', async () => {
    const other = connectionsTo(sshd.host);
    const source = await openSshSource(other.runner, path, 'host:bundle');
    await other.cut();
    const error: unknown = await source.read(0, bytes.length).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConnectionError);
    expect((error as ConnectionError).message).toMatch(
      /cannot read bundle host:bundle: the connection to .* was lost/,
    );
    await source.close();
    await other.close();
  });
});

describe('the place of a bundle', () => {
  test.each([
    ['/a/b.tar.gz', undefined, undefined, '/a/b.tar.gz'],
    ['b.tar.gz', undefined, undefined, 'b.tar.gz'],
    ['./a:b', undefined, undefined, './a:b'],
    ['/x/a:b', undefined, undefined, '/x/a:b'],
    ['host:/a b', 'host', undefined, '/a b'],
    ['host:b', 'host', undefined, 'b'],
    ['me@host:/a:b', 'host', 'me', '/a:b'],
    ['me@[::1]:/a', '::1', 'me', '/a'],
  ])('the place of a bundle: %s', (text, name, user, file) => {
    const found = parseBundleAddress(text);
    expect([found.host?.host, found.host?.user, found.path]).toEqual([name, user, file]);
  });

  test.each(['-oProxyCommand=id:/a', 'a b:/x', 'me$(id)@host:/x', 'host:'])(
    'the place of a bundle %s is refused',
    (text) => {
      expect(() => parseBundleAddress(text)).toThrow();
    },
  );
});
