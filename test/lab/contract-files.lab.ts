// The contract for disks that are files, by the built command on a real libvirt.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { guestTraces, local, sceneAt, temporary, type How } from './contract-local.ts';
import { describeContract, type ContractStorage } from './contract.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt } from './libvirt.ts';
import { backedUpByOned } from './oned-backup.ts';
import { runProgram } from './program.ts';

const ways = ['job'] as const;
// The commands of the job are the same on every storage: here it meets what befalls it at each of them.
describeContract('files of TM qcow2', () => files('qcow2', 'here'), {
  ways,
  // SIGTERM comes at each command by ssh, below.
  atEachCommand: { job: ['fail', 'SIGKILL'] },
});
describeContract('files of TM ssh', () => files('ssh', 'here'), { ways });
describeContract('files of TM qcow2 on a host', () => files('qcow2', 'host'), {
  ways,
  atEachCommand: { job: ['SIGTERM'] },
});
describeContract('files of TM ssh on a host', () => files('ssh', 'host'), { ways });
describeContract('files of TM qcow2, backed up by oned', () => files('qcow2', 'oned'), { ways });

async function files(tm: 'qcow2' | 'ssh', how: How): Promise<ContractStorage> {
  const lab = await upLibvirt();
  const vm = lab[tm];
  const wasRunning = await vm.isRunning();
  const images = tm === 'qcow2' ? [join(lab.datastores, '101')] : [];
  const scene = await sceneAt(how, lab, [{ vm, more: images }]);
  const all = [
    [0, 'qcow2'],
    [1, 'raw'],
    [2, 'raw'],
    [3, 'qcow2'],
  ] as const;
  // oned backs up no CD-ROMs.
  const formats = new Map(all.filter(([id]) => how !== 'oned' || id !== 2));
  const wish = { location: lab.datastores, diskIds: [...formats.keys()] };
  return {
    ...local(scene, vm),
    ...(how === 'oned' ? backedUpByOned(scene, vm, wish) : {}),
    formats,
    foreign: (id, body) =>
      temporary(scene, async (path) => {
        const from = ['-U', '-f', formats.get(id as 0) ?? 'raw', vm.diskPath(id)];
        await runProgram('qemu-img', ['convert', ...from, '-O', 'raw', path]);
        return await body(path);
      }),
    traces: async () => ({
      ...(await guestTraces(vm)),
      ...(await scene.left()),
      folder: (await readdir(vm.folder)).sort(),
      // What runs writes to its disks.
      sums: (await vm.isRunning()) ? undefined : await checksums(vm, [...formats.keys()]),
    }),
    async close() {
      if ((how === 'host' || !wasRunning) && (await vm.isRunning())) await vm.powerOff();
      await scene.close();
      if (wasRunning) await vm.start();
      if (lab.startedNow) await downLibvirt();
    },
  };
}

async function checksums(vm: LabVm, ids: readonly number[]): Promise<string> {
  return runProgram('sha256sum', [...ids.map((id) => vm.diskPath(id))]);
}
