import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { downCeph, upCeph, type CephLab } from './ceph.ts';
import { downLibvirt, upLibvirt } from './libvirt.ts';
import { readNumbers, sameInstant } from './numbers.ts';
import { runProgram } from './program.ts';

let lab: CephLab;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-ceph-lab-'));
  lab = await upCeph();
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  if (lab.startedNow) await downCeph();
});

async function imageInfo(image: string): Promise<Record<string, unknown>> {
  const text = await lab.rbd('info', '--format', 'json', image);
  return JSON.parse(text) as Record<string, unknown>;
}

describe('the Ceph lab', () => {
  test('a second start of the Ceph lab finds the cluster running', async () => {
    const again = await upCeph();
    expect({ started: again.startedNow, conf: again.conf }).toEqual({
      started: false,
      conf: lab.conf,
    });
  });

  test('the VM XML of the Ceph lab tells the images as they are', async () => {
    const vm = parseVm(Buffer.from(await lab.vm.xml()));
    expect(vm.state).toBe(8);
    expect(vm.disks.map(({ type, source }) => [type, source])).toEqual([
      ['RBD', 'one/one-30'],
      ['FS', undefined],
      ['RBD_CDROM', 'one/one-31'],
      ['RBD', 'one/one-32'],
    ]);
    for (const disk of vm.disks) {
      const { size } = await imageInfo(lab.images[disk.id]!);
      expect(Math.ceil(Number(size) / 1024 ** 2)).toBe(disk.sizeMb);
      expect([disk.cephUser, disk.cephKey, disk.cephConf, disk.poolName]).toEqual([
        lab.user,
        lab.keyfile,
        lab.conf,
        lab.pool,
      ]);
    }
  });

  test("disk 0 of the Ceph lab's VM is a clone of its image", async () => {
    expect(await imageInfo(lab.images[0])).toMatchObject({
      parent: { image: 'one-30', snapshot: 'snap' },
    });
  });

  test('a wrong key is refused by the Ceph lab', async () => {
    const wrong = join(folder, 'wrong.key');
    await writeFile(wrong, await runProgram('ceph-authtool', ['--gen-print-key']));
    const args = ['--id', lab.user, '--keyfile', wrong, '--conf', lab.conf, 'ls', 'one'];
    await expect(runProgram('rbd', args)).rejects.toThrow();
  });

  test('snapshots on Ceph of a frozen guest are clean and of one point in time', async () => {
    const libvirt = await upLibvirt();
    try {
      await lab.vm.start();
      expect(await lab.vm.xml()).toContain('<STATE>3</STATE>');
      const images = lab.images.slice(0, 2);
      await lab.vm.virsh('domfsfreeze', lab.vm.domain);
      expect(await lab.vm.isFrozen()).toBe(true);
      for (const image of images) {
        await lab.rbd('snap', 'create', '--no-progress', `${image}@lab`);
      }
      await lab.vm.virsh('domfsthaw', lab.vm.domain);
      const [vda, vdb] = [
        await numbersOf(`${images[0]!}@lab`),
        await numbersOf(`${images[1]!}@lab`),
      ];
      expect(vda.clean && vdb.clean).toBe(true);
      expect(sameInstant(vda, vdb)).toBe(true);
      expect(vdb.last).toBeGreaterThan(0);
      expect(await lab.vm.lastNumber()).toBeGreaterThan(vda.last);
      await lab.vm.powerOff();
      for (const image of images) await lab.rbd('snap', 'rm', '--no-progress', `${image}@lab`);
    } finally {
      if (await lab.vm.isRunning()) await lab.vm.destroy();
      if (libvirt.startedNow) await downLibvirt();
    }
  });
});

async function numbersOf(image: string): ReturnType<typeof readNumbers> {
  const copy = join(folder, 'copy');
  await lab.rbd('export', '--no-progress', image, copy);
  try {
    return await readNumbers(copy, 'raw');
  } finally {
    await rm(copy);
  }
}
