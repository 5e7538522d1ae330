// Bundles that do not hold all disks of their VM: since only some were asked for, or since the bundle lost its end.
import { truncateSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { openPath } from '../support/read-bundle.ts';
import { makeVm } from '../support/make-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let vmId: number;
let whole: string;

beforeAll(async () => {
  world = await makeWorld();
  vmId = await makeVm(world.sandbox, world.one, join(world.folder, 'sources'));
  whole = join(world.bundles, 'whole.tar.gz');
  await run('export', String(vmId), '-d', whole);
});
afterAll(() => world.close());

/** Runs the command, which must succeed. */
async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await world.run(args);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** DISK elements of a restored template. */
async function disksOf(templateId: number): Promise<number> {
  const xml = await world.one.text('one.template.info', templateId, false, false);
  return xml.split('<DISK>').length - 1;
}

describe('a bundle of some disks', () => {
  let bundle: string;
  beforeAll(async () => {
    bundle = join(world.bundles, 'some.tar.gz');
    await run('export', String(vmId), '-d', bundle, '--disk', '0');
  });

  test('a bundle of some disks holds these alone, and show, list and verify say which are left out', async () => {
    const all = parseVm(Buffer.from(world.sandbox.vmXml(vmId))).disks.map(({ id }) => id);
    const others = all.filter((id) => id !== 0);
    const shown = JSON.parse(await run('show', bundle, '--json')) as {
      disks: { id: number }[];
      leftOut: number[];
    };
    expect(shown.disks.map(({ id }) => id)).toEqual([0]);
    expect(shown.leftOut).toEqual(others);
    expect(await run('show', bundle)).toContain(`disk ${others.join(', ')} (not requested)`);
    expect(await run('list', world.bundles)).toMatch(
      new RegExp(`1 of ${all.length} .*some.tar.gz`),
    );
    expect(await run('verify', bundle)).toContain(`1 disk without disk ${others.join(', ')}`);
  });

  test('a bundle of some disks comes back as a template without the others, with a warning for each', async () => {
    const { code, stdout, stderr } = await world.run(['restore', bundle, '--json']);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const report = JSON.parse(stdout) as {
      templateId: number;
      missing: number[];
      images: { diskId: number }[];
    };
    expect(report.images.map(({ diskId }) => diskId)).toEqual([0]);
    expect(report.missing.length).toBeGreaterThan(0);
    for (const id of report.missing) {
      expect(stderr).toMatch(new RegExp(`WARNING: onevmdump: disk ${id}: it is not in the bundle`));
    }
    const all = parseVm(Buffer.from(world.sandbox.vmXml(vmId))).disks.length;
    expect(await disksOf(report.templateId)).toBe(all - report.missing.length);
  });

  test('a bundle of some disks does not become a VM, and nothing is made', async () => {
    const before = world.sandbox.calls.filter(({ method }) => method.endsWith('allocate')).length;
    const { code, stderr } = await world.run(['restore', bundle, '--instantiate']);
    expect(code).toBe(2);
    expect(stderr).toContain('--instantiate would make a VM without it');
    const after = world.sandbox.calls.filter(({ method }) => method.endsWith('allocate')).length;
    expect(after).toBe(before);
  });

  test('a bundle of some disks is refused when the VM does not have one of them', async () => {
    const { code, stderr } = await world.run(['export', String(vmId), '--disk', '99']);
    expect(code).toBe(2);
    expect(stderr).toContain(`VM ${vmId} has no disk 99`);
  });
});

describe('a bundle that lost its end', () => {
  let cut: string;
  beforeAll(async () => {
    cut = join(world.bundles, 'cut.tar.gz');
    const opened = await openPath(whole);
    await opened.close();
    const second = opened.manifest?.members.find(({ name }) => name === './backup.disk.1');
    await copyFile(whole, cut);
    truncateSync(cut, (second?.offset ?? 0) + Math.floor((second?.stored ?? 0) / 2));
  });

  test.each(['restore', 'verify', 'show'])(
    'a bundle that lost its end is refused by %s, which says what is whole',
    async (word) => {
      const { code, stderr } = await world.run([word, cut]);
      expect(code).toBe(5);
      expect(stderr).toContain('what comes before that is whole (disk 0)');
      expect(stderr).toContain('--salvage');
    },
  );

  test('restore --salvage of a bundle that lost its end gives its whole disks, says what is missing, and ends with code 7', async () => {
    const { code, stdout, stderr } = await world.run(['restore', cut, '--salvage', '--json']);
    expect(stderr).toContain('WARNING: onevmdump: the bundle lost its end');
    expect(stderr).toMatch(/the bundle lost its end: one disk was restored, missing: disk 1/);
    expect(code).toBe(7);
    const report = JSON.parse(stdout) as {
      templateId: number;
      images: { diskId: number }[];
      missing: number[];
      cut: string;
      error: object;
    };
    expect(report.error).toMatchObject({ code: 'bundle-incomplete', exitCode: 7 });
    expect(report.images.map(({ diskId }) => diskId)).toEqual([0]);
    expect(report.missing).toContain(1);
    expect(report.cut).toContain('disk 1');
    expect(await disksOf(report.templateId)).toBeGreaterThan(0);
  });

  test('a bundle that lost its end is not salvaged when nothing of it is whole', async () => {
    truncateSync(cut, 100);
    const { code } = await world.run(['restore', cut, '--salvage']);
    expect(code).toBe(5);
  });
});
