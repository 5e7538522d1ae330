import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { tree, unpackRelease, type Release } from './release.ts';

let release: Release;
let one: string;
beforeEach(async () => {
  release = await unpackRelease();
  one = join(release.temp, 'one');
});
afterEach(() => release.remove());

const node = `exec '${process.execPath}' "$@"`;
const required = { node, 'qemu-img': '', 'qemu-nbd': '' };
const optional = { igzip: '', pigz: '', gzip: '', zstd: '', tar: '', ssh: '', virsh: '', rbd: '' };

describe('at the end of an installation', () => {
  test('at the end of an installation missing required tools are warned about with their packages, and it is installed', async () => {
    const { status, stderr } = await release.install(['-d', one], { tools: { node } });
    expect(status).toBe(0);
    expect(stderr).toMatch(/^WARNING: not installed, but onevmdump does not work without:\n/);
    expect(stderr).toMatch(/qemu-img .*Debian, Ubuntu: qemu-utils; RHEL: qemu-img/);
    expect(stderr).toMatch(/qemu-nbd .*Debian, Ubuntu: qemu-utils; RHEL: qemu-img/);
    expect(await tree(one)).toContain('bin/onevmdump');
  });

  test('at the end of an installation a missing Node.js is a missing required tool', async () => {
    const { status, stderr } = await release.install(['-d', one], { tools: {} });
    expect(status).toBe(0);
    expect(stderr).toMatch(/node .*nodejs \(20\.19 or newer\)/);
  });

  test('at the end of an installation a head and stat that are not GNU are missing tools', async () => {
    const tools = { ...required, head: 'echo BusyBox' };
    const { stderr } = await release.install(['-d', one], { tools });
    expect(stderr).toMatch(/coreutils; RHEL: coreutils/);
  });

  test('at the end of an installation missing optional tools are named with their packages, without a warning', async () => {
    const { stdout, stderr } = await release.install(['-d', one], { tools: required });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/igzip .*Debian, Ubuntu: isal; RHEL: isa-l-tools/);
    expect(stdout).toMatch(/virsh .*Debian, Ubuntu: libvirt-clients; RHEL: libvirt-client/);
    expect(stdout).toMatch(/ssh .*Debian, Ubuntu: openssh-client; RHEL: openssh-clients/);
    expect(stdout).toContain('All required tools are installed.');
  });

  test('at the end of an installation tools that are there are not named', async () => {
    const tools = { ...required, ...optional, lvs: '' };
    const { stdout, stderr } = await release.install(['-d', one], { tools });
    expect(stderr).toBe('');
    expect(stdout).toContain(`onevmdump 1.2.3 is installed: ${one}/bin/onevmdump\n`);
    expect(stdout.trim().split('\n').at(-1)).toBe('All required tools are installed.');
  });
});

describe('from a checkout', () => {
  // Stands in for npm: notes how it was called, and builds as the real one would.
  const npm = 'echo "$*" >>npm-calls; mkdir -p dist/bin; cp built dist/bin/onevmdump';
  const calls = () => readFile(join(release.folder, 'npm-calls'), 'utf8');
  beforeEach(async () => {
    await release.write('built', "#!/usr/bin/env node\nconsole.log('1.2.3');\n");
    await release.write('scripts/build.mjs', '');
    await release.write('package.json', '{}');
  });
  const tools = { node, npm: `PATH=/usr/bin:/bin; ${npm}` };

  test('in an installation from a checkout the command is built when it is missing', async () => {
    await rm(join(release.folder, 'dist'), { recursive: true });
    const { status } = await release.install(['-d', one], { tools });
    expect(status).toBe(0);
    expect(await calls()).toBe('ci --no-audit --no-fund\nrun build\n');
    expect(await tree(one)).toContain('bin/onevmdump');
  });

  test('in an installation from a checkout the command is built again when its sources are newer', async () => {
    await utimes(join(release.folder, 'dist/bin/onevmdump'), 1, 1);
    await release.install(['-d', one], { tools });
    expect(await calls()).toContain('run build\n');
  });

  test('in an installation from a checkout a command that is newer than its sources is taken as it is', async () => {
    await utimes(join(release.folder, 'package.json'), 1, 1);
    await utimes(join(release.folder, 'scripts/build.mjs'), 1, 1);
    await release.install(['-d', one], { tools });
    await expect(stat(join(release.folder, 'npm-calls'))).rejects.toThrow('ENOENT');
  });

  test('in an installation from a checkout a build that fails ends the installation', async () => {
    await rm(join(release.folder, 'dist'), { recursive: true });
    const { status, stderr } = await release.install(['-d', one], {
      tools: { node, npm: 'echo no network >&2; exit 1' },
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/no network\n.*cannot build onevmdump/);
    await expect(tree(one)).rejects.toThrow('ENOENT');
  });
});
