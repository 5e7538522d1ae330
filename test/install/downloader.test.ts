// What install.sh does to OpenNebula's datastore/downloader.sh, and what --check says of it.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unpackRelease, type Release, type Result } from './release.ts';

/** The part that counts, in the form OpenNebula's has: another list before, and the list of URL kinds. */
const original = `#!/bin/bash
VAR_LOCATION=$ONE_LOCATION/var
function esc_sq
{
    echo "$1" | sed -e "s/'/'\\\\\\\\''/g"
}
case "$1" in
*)
    ;;
esac
FROM="$1"
case "$FROM" in
http://*)
    command="curl"
    ;;
*)
    command="cat '$(esc_sq "$FROM")'"
    ;;
esac
eval "$command"
`;

let release: Release;
let root: string;
let file: string;
beforeEach(async () => {
  release = await unpackRelease();
  await release.write('dist/drivers/datastore/stream_disk', '#!/bin/bash\nprintf "<%s>" "$@"\n');
  root = join(release.temp, 'one');
  file = join(root, 'var/remotes/datastore/downloader.sh');
  await mkdir(join(root, 'var/remotes/datastore'), { recursive: true });
  await mkdir(join(root, 'etc'));
  await writeFile(file, original, { mode: 0o750 });
  await writeFile(
    join(root, 'etc/oned.conf'),
    'DATASTORE_MAD = [\n ARGUMENTS = "-t 15 -d fs,onevmdump -s ssh"\n]\nDS_MAD_CONF = [\n NAME = "onevmdump",\n REQUIRED_ATTRS = ""\n]\n',
  );
});
afterEach(() => release.remove());

const install = (...args: string[]): Promise<Result> => release.install(['-d', root, ...args]);
const check = (): Promise<Result> => install('--check');

function download(from: string): string {
  const { stdout } = spawnSync(file, [from], {
    encoding: 'utf8',
    env: { ...process.env, ONE_LOCATION: root },
  });
  return stdout;
}

describe('downloader.sh', () => {
  test('the changed downloader.sh hands the address of a disk in a bundle to the driver, as one word', async () => {
    expect((await install()).status).toBe(0);
    expect(download("onevmdump://103/a'b c$(id)")).toBe("<onevmdump://103/a'b c$(id)>");
  });

  test('the changed downloader.sh treats every other address as it did', async () => {
    await install();
    expect(download('/etc/hostname')).toBe(await readFile('/etc/hostname', 'utf8'));
  });

  test('the changed downloader.sh keeps its mode, and is the same after a second installation', async () => {
    await install();
    const once = await readFile(file, 'utf8');
    await install();
    expect(await readFile(file, 'utf8')).toBe(once);
    expect((await stat(file)).mode & 0o777).toBe(0o750);
  });

  test('downloader.sh is byte for byte as before when onevmdump is uninstalled', async () => {
    await install();
    expect(await readFile(file, 'utf8')).not.toBe(original);
    expect((await install('--uninstall')).status).toBe(0);
    expect(await readFile(file, 'utf8')).toBe(original);
  });

  test('a downloader.sh that has no list of URL kinds is left alone, with a warning', async () => {
    await writeFile(file, '#!/bin/bash\n');
    const { status, stderr } = await install();
    expect(status).toBe(0);
    expect(stderr).toContain('restores from backup datastores will not work');
    expect(await readFile(file, 'utf8')).toBe('#!/bin/bash\n');
  });
});

describe('--check', () => {
  beforeEach(async () => {
    await install();
  });

  test('install.sh --check finds nothing after an installation, and changes nothing', async () => {
    const before = await readFile(file, 'utf8');
    expect(await check()).toMatchObject({ status: 0, stderr: '' });
    expect(await readFile(file, 'utf8')).toBe(before);
  });

  test.each<[string, () => Promise<void>, string]>([
    [
      'a downloader.sh from an upgrade',
      () => writeFile(file, original),
      'does not know disks in bundles',
    ],
    [
      'an action that was changed',
      () => writeFile(join(root, 'var/remotes/datastore/onevmdump/backup'), '#!/bin/sh\n'),
      'changed since it was installed',
    ],
    [
      'an oned.conf without the driver',
      () => writeFile(join(root, 'etc/oned.conf'), '# -d onevmdump\n'),
      'DATASTORE_MAD has no onevmdump',
    ],
    [
      'an oned.conf without DS_MAD_CONF',
      () => writeFile(join(root, 'etc/oned.conf'), 'ARGUMENTS = "-d fs,onevmdump"\n'),
      'no DS_MAD_CONF for onevmdump',
    ],
  ])('install.sh --check tells of %s', async (_, change, words) => {
    await change();
    const { status, stderr } = await check();
    expect(status).toBe(1);
    expect(stderr).toContain(words);
  });

  test('install.sh --check says when nothing is installed', async () => {
    await install('--uninstall');
    const { status, stderr } = await check();
    expect(status).toBe(1);
    expect(stderr).toContain('not installed');
  });
});
