import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { chmod, mkdir, rm, stat, symlink } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { tree, unpackRelease, type Release } from './release.ts';

let release: Release;
let one: string;
beforeEach(async () => {
  release = await unpackRelease();
  one = join(release.temp, 'my one');
  await mkdir(one);
});
afterEach(async () => {
  await chmod(one, 0o755);
  await release.remove();
});

describe('wrong usage ends with 2 and changes nothing:', () => {
  test.each([
    { args: ['--chek'], says: 'unknown option --chek' },
    { args: ['-d'], says: '-d needs a value' },
    { args: ['-u', ''], says: '-u needs a value' },
    { args: ['-d', 'relative'], says: 'must be an absolute path below /, not relative' },
    { args: ['-d', '/'], says: 'must be an absolute path below /' },
    { args: ['-d', '/tmp/../etc'], says: 'must be an absolute path below /' },
    { args: ['-d', '/tmp/a\nb'], says: 'line break' },
  ])('wrong usage ends with 2 and changes nothing: install.sh $args', async ({ args, says }) => {
    const { status, stderr } = await release.install(args);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(says) });
  });
});

describe('nothing is installed', () => {
  afterEach(async () => {
    expect(await tree(one)).toEqual([]);
  });

  test('nothing is installed for a user that does not exist', async () => {
    const { status, stderr } = await release.install(['-d', one], { user: 'nosuchuser' });
    expect(status).toBe(1);
    expect(stderr).toContain('there is no user nosuchuser on this machine');
  });

  test('nothing is installed for a group that does not exist', async () => {
    const { status, stderr } = await release.install(['-d', one, '-g', 'nosuchgroup']);
    expect(status).toBe(1);
    expect(stderr).toContain('there is no group nosuchgroup on this machine');
  });

  test('nothing is installed into a folder that may not be written', async () => {
    await chmod(one, 0o555);
    const { status, stderr } = await release.install(['-d', one], { asNobody: true, user: null });
    expect(status).toBe(1);
    expect(stderr).toMatch(/cannot install into .*my one\/bin: \S+ may not write to .*my one;/);
    expect(stderr).toContain('run it as root, or install into a folder of your own with -d DIR');
  });

  test('nothing is installed for another user when not root', async () => {
    const user = userInfo().uid === 0 ? 'root' : 'nobody';
    const { status, stderr } = await release.install(['-d', one], { asNobody: true, user });
    expect(status).toBe(1);
    expect(stderr).toContain(`only root can install for another user (${user})`);
  });

  test('nothing is installed with a Node.js that is too old', async () => {
    const tools = { node: 'echo v20.18.3' };
    const { status, stderr } = await release.install(['-d', one], { tools });
    expect(status).toBe(1);
    expect(stderr).toMatch(/Node.js 20\.18\.3 \(.*\/node\) is too old: onevmdump needs 20\.19/);
    expect(stderr).toContain('NodeSource');
    expect(stderr).toContain('dnf module install nodejs:22');
  });

  test('nothing is installed when the command does not start', async () => {
    await release.write('dist/bin/onevmdump', 'not a program');
    const { status, stderr } = await release.install(['-d', one]);
    expect(status).toBe(1);
    expect(stderr).toContain('dist/bin/onevmdump does not run');
  });

  test('nothing is installed from a release without its command', async () => {
    await rm(join(release.folder, 'dist'), { recursive: true });
    const { status, stderr } = await release.install(['-d', one]);
    expect(status).toBe(1);
    expect(stderr).toContain('this release is not complete');
  });

  test('nothing is installed from a checkout that was not built, when there is no npm', async () => {
    await rm(join(release.folder, 'dist'), { recursive: true });
    await release.write('scripts/build.mjs', '');
    const tools = { node: 'echo v20.19.0' };
    const { status, stderr } = await release.install(['-d', one], { tools });
    expect(status).toBe(1);
    expect(stderr).toContain(
      "npm, which builds it, is not installed. Run 'npm ci && npm run build'",
    );
  });
});

describe('what an attacker could have put in our place is refused:', () => {
  test('an installation refuses what an attacker could have prepared: a link instead of the state folder', async () => {
    const victim = join(release.temp, 'victim');
    await mkdir(victim, { mode: 0o755 });
    await mkdir(join(one, 'var'));
    await symlink(victim, join(one, 'var/onevmdump'));
    const { status, stderr } = await release.install(['-d', one]);
    expect(status).toBe(1);
    expect(stderr).toContain('var/onevmdump is a link');
    expect((await stat(victim)).mode & 0o777).toBe(0o755);
  });

  test('an installation refuses what an attacker could have prepared: a staging folder that everyone can write', async () => {
    const staging = join(one, 'var/tmp/onevmdump');
    await mkdir(staging, { recursive: true });
    await chmod(staging, 0o777);
    const { status, stderr } = await release.install([], { env: { DESTDIR: one } });
    expect(status).toBe(1);
    expect(stderr).toContain('can be changed by other users');
  });
});
