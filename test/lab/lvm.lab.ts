import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { downLvm, upLvm, type LvmLab } from './lvm.ts';
import { readNumbers, sameInstant, type Numbers } from './numbers.ts';
import { runProgram } from './program.ts';

let lab: LvmLab;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-lvm-lab-'));
  lab = await upLvm();
  for (const vm of [lab.thick, lab.thin]) if (await vm.isRunning()) await vm.powerOff();
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  if (lab.startedNow) await downLvm();
});

async function numbersOf(device: string): Promise<Numbers> {
  const copy = join(folder, 'copy');
  await lab.copyOut(device, copy);
  return readNumbers(copy, 'raw');
}

describe('the LVM lab', () => {
  test('a second start of the LVM lab finds the host running', async () => {
    const boot = await lab.run('cat /proc/sys/kernel/random/boot_id');
    expect((await upLvm()).startedNow).toBe(false);
    expect(await lab.run('cat /proc/sys/kernel/random/boot_id')).toBe(boot);
  });

  test('oneadmin of the LVM lab is an ordinary user who may sudo', async () => {
    expect(await lab.run('id -un; sudo -n id -un', 'oneadmin')).toBe('oneadmin\nroot\n');
    await expect(lab.run('lvs', 'oneadmin')).rejects.toThrow();
    expect(await lab.run('sudo -n lvs --noheadings -o lv_name vg-one-110', 'oneadmin')).toContain(
      'lv-one-20-0',
    );
  });

  test('the ssh of the LVM lab reaches the host without options', async () => {
    const ssh = join(lab.sshFolder, 'ssh');
    expect(await runProgram(ssh, [lab.host, 'id', '-un'])).toBe('oneadmin\n');
  });

  test.each(['thick', 'thin'] as const)(
    'the VM XML of the %s VM in the LVM lab tells its volumes',
    async (kind) => {
      const vm = parseVm(Buffer.from(await lab[kind].xml()));
      expect(vm.state).toBe(8);
      const datastore = String(vm.history?.datastoreId);
      expect(lab[kind].folder).toBe(`/var/lib/one/datastores/${datastore}/${vm.id}`);
      for (const { id, sizeMb } of vm.disks) {
        const volume = `vg-one-${datastore}/lv-one-${vm.id}-${id}`;
        expect(await lab.run(`readlink ${lab[kind].diskPath(id)}`)).toBe(`/dev/${volume}\n`);
        const facts = await lab.run(
          `lvs --noheadings --nosuffix --units m -o lv_size,lv_active,pool_lv ${volume}`,
        );
        const pool = kind === 'thin' ? [`lv-one-${vm.id}-pool`] : [];
        expect(facts.trim().split(/\s+/)).toEqual([`${sizeMb ?? 0}.00`, ...pool]);
      }
    },
  );

  test('thin volumes of the LVM lab are activated with -K only', async () => {
    await lab.run('lvchange -q -ay vg-one-111/lv-one-21-0');
    await expect(lab.run('test -e /dev/vg-one-111/lv-one-21-0')).rejects.toThrow();
    await lab.run('lvchange -q -ay -K vg-one-111/lv-one-21-0');
    await lab.run('test -e /dev/vg-one-111/lv-one-21-0');
    await lab.run('lvchange -q -an vg-one-111/lv-one-21-0');
  });

  test.each([
    ['thick', 'vg-one-110', '-L 32M'],
    ['thin', 'vg-one-111', '-ky'],
  ] as const)(
    'snapshots of a frozen guest on %s LVM volumes are clean and of one point in time',
    async (kind, group, size) => {
      const vm = lab[kind];
      await vm.start();
      try {
        expect(await vm.xml()).toContain('<STATE>3</STATE>');
        const volumes = [0, 1].map((disk) => `lv-one-${vm.id}-${disk}`);
        await vm.virsh('domfsfreeze', vm.domain);
        expect(await vm.isFrozen()).toBe(true);
        for (const volume of volumes)
          await lab.run(`lvcreate -q -s ${size} -n ${volume}-snap ${group}/${volume}`);
        await vm.virsh('domfsthaw', vm.domain);
        expect(await vm.isFrozen()).toBe(false);
        const found: Numbers[] = [];
        for (const volume of volumes) {
          if (kind === 'thin') await lab.run(`lvchange -q -ay -K ${group}/${volume}-snap`);
          found.push(await numbersOf(`/dev/${group}/${volume}-snap`));
          await lab.run(`lvremove -q -y ${group}/${volume}-snap`);
        }
        const [vda, vdb] = [found[0]!, found[1]!];
        expect(vda.clean && vdb.clean).toBe(true);
        expect(sameInstant(vda, vdb)).toBe(true);
        expect(vdb.last).toBeGreaterThan(0);
        expect(await vm.lastNumber()).toBeGreaterThan(vda.last);
      } finally {
        await vm.powerOff();
      }
    },
  );
});
