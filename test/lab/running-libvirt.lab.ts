// What libvirt goes through while a running VM is exported: a restart, another job in the last moment, and
// disks of other sizes.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { median } from '../../bench/statistics.ts';
import {
  asBefore,
  expectWriting,
  leftOfGuest,
  makeScene,
  reportOf,
  virshThat,
  type ExportScene,
} from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { sameInstant } from './numbers.ts';
import { runProgram } from './program.ts';
import { until } from '../support/limits.ts';

let lab: LibvirtLab;
let scene: ExportScene;

beforeAll(async () => {
  lab = await upLibvirt();
  scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_LIBVIRT_URI: lab.uri,
  });
});

afterAll(async () => {
  await scene.close();
  if (lab.startedNow) await downLibvirt();
});

afterEach(() => scene.removeBundles());

async function expectNothingLeft(vm: LabVm): Promise<void> {
  expect(await leftOfGuest(vm)).toEqual(asBefore);
  expect(await scene.leftHere()).toEqual({ journals: [], parts: [] });
  const files = (await readdir(vm.folder)).filter((name) => name.startsWith('onevmdump-'));
  expect(files).toEqual([]);
}

describe('an export of a running VM', () => {
  test('an export of a running VM on files goes on while libvirtd is restarted', async () => {
    const vm = lab.qcow2;
    const ended = await scene.whileReading(vm, () => lab.restartLibvirtd());
    const { bundle, consistency } = reportOf(ended);
    expect(consistency.level).toBe('agent');
    const { vda, vdb } = await scene.numbersIn(bundle);
    expect([vda.clean, vdb.clean]).toEqual([true, true]);
    expect(sameInstant(vda, vdb)).toBe(true);
    await expectNothingLeft(vm);
    await expectWriting(vm);
  });

  test('an export of a running VM on files before which another job slips in fails, and that job goes on', async () => {
    const vm = lab.qcow2;
    const socket = join(scene.folder, 'other.sock');
    const scratch = join(scene.folder, 'other.scratch');
    const order = join(scene.folder, 'other.xml');
    await runProgram('tee', [order], {
      input: `<domainbackup mode='pull'><server transport='unix' socket='${socket}'/><disks><disk name='vdb' backup='yes' type='file'><scratch file='${scratch}'/></disk></disks></domainbackup>`,
    });
    const env = await virshThat(join(scene.folder, 'bin'), {
      before: `if [[ " $* " == *' backup-begin '* ]]; then virsh() { "$(type -aP virsh | sed -n 2p)" "$@"; }
  virsh -c '${lab.uri}' backup-begin '${vm.domain}' '${order}' >/dev/null
fi`,
    });
    try {
      const { code, stderr } = await scene.exportOf(vm, [], { env });
      expect({ code, stderr }).toMatchObject({
        code: 4,
        stderr: expect.stringContaining('begin a backup job') as unknown,
      });
      expect(await vm.virsh('backup-dumpxml', vm.domain)).toContain(socket);
      expect(await vm.isFrozen()).toBe(false);
      expect(await scene.leftHere()).toEqual({ journals: [], parts: [] });
    } finally {
      await vm.virsh('domjobabort', vm.domain);
    }
    await expectNothingLeft(vm);
    await expectWriting(vm);
  });

  test('an export of a running VM on files freezes the guest no longer for 8 GiB than for 1 GiB', async () => {
    const vm = lab.qcow2;
    const medians: number[] = [];
    for (const gib of [1, 8]) {
      const frozenMs = await withFurtherDisk(vm, gib, () => frozenThrice(vm));
      medians.push(median(frozenMs));
      process.stderr.write(`a further disk of ${gib} GiB: frozen for ${frozenMs.join(', ')} ms\n`);
    }
    const [one = 0, eight = 0] = medians;
    // Copying 7 GiB more would take seconds; a busy machine is a few hundred milliseconds off.
    expect(eight).toBeLessThan(one + 1500);
    await expectNothingLeft(vm);
  });
});

async function frozenThrice(vm: LabVm): Promise<number[]> {
  const frozenMs: number[] = [];
  for (let round = 0; round < 3; round++) {
    const { consistency } = reportOf(await scene.exportOf(vm, ['--compress', 'none']));
    expect(consistency.level).toBe('agent');
    frozenMs.push(consistency.frozenMs);
    await scene.removeBundles();
  }
  return frozenMs;
}

/** While `body` runs, the VM has a raw disk 7 of that size, with data all over it. */
async function withFurtherDisk<T>(vm: LabVm, gib: number, body: () => Promise<T>): Promise<T> {
  const path = vm.diskPath(7);
  await runProgram('truncate', ['-s', `${gib}G`, path]);
  for (let at = 0; at < gib * 1024; at += 16) {
    const place = [`seek=${at}`, 'bs=1M', 'count=1', 'conv=notrunc', 'status=none'];
    await runProgram('dd', ['if=/dev/urandom', `of=${path}`, ...place]);
  }
  await vm.virsh('attach-disk', vm.domain, path, 'vdg', '--subdriver', 'raw', '--live');
  vm.withDisk(
    `<DISK><DISK_ID>7</DISK_ID><TYPE>fs</TYPE><FORMAT>raw</FORMAT><SIZE>${gib * 1024}</SIZE><TARGET>vdg</TARGET><TM_MAD>qcow2</TM_MAD><DATASTORE_ID>100</DATASTORE_ID></DISK>`,
  );
  try {
    return await body();
  } finally {
    vm.withDisk(undefined);
    await vm.virsh('detach-disk', vm.domain, 'vdg', '--live');
    await detached(vm, 'vdg');
    await runProgram('rm', ['-f', path]);
  }
}

async function detached(vm: LabVm, target: string): Promise<void> {
  const gone = async () => !(await vm.virsh('domblklist', vm.domain)).includes(target);
  await until(`${target} is detached`, gone);
}
