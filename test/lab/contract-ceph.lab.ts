// The contract for disks on Ceph, by the built command on a real cluster and libvirt.
import { readdir } from 'node:fs/promises';
import { downCeph, upCeph } from './ceph.ts';
import { guestTraces, local, sceneAt, temporary, type How } from './contract-local.ts';
import { describeContract, waysByDefault, type ContractStorage } from './contract.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { backedUpByOned } from './oned-backup.ts';
import { runProgram } from './program.ts';
import { imageName as threeImageName } from './three-storages.ts';

const ways = ['job', 'snapshots'] as const;
describeContract('Ceph', () => ceph('vm', 'here'), {
  ways,
  atEachCommand: { snapshots: ['SIGTERM'] },
});
describeContract('Ceph with a volatile disk in a file', () => ceph('mixed', 'here'), {
  ways,
  atEachCommand: { snapshots: ['SIGKILL'] },
});
describeContract('Ceph of a host', () => ceph('vm', 'host'), { ways });
describeContract('Ceph of a host with a volatile disk in a file', () => ceph('mixed', 'host'), {
  ways: waysByDefault('job'),
});
describeContract(
  'Ceph with a volatile disk in a file, backed up by oned',
  () => ceph('mixed', 'oned'),
  { ways: waysByDefault('job') },
);

async function ceph(which: 'vm' | 'mixed', how: How): Promise<ContractStorage> {
  const libvirt: LibvirtLab = await upLibvirt();
  const lab = await upCeph();
  const vm = lab[which];
  const scene = await sceneAt(how, { ...libvirt, datastores: lab.datastores }, [
    { vm, more: [lab.keyfile] },
  ]);
  const images: readonly string[] = which === 'vm' ? lab.images : [lab.mixedImage];
  const ids = which === 'vm' ? [0, 1, 2, 3] : [0, 1];
  return {
    ...local(scene, vm),
    ...(how === 'oned'
      ? backedUpByOned(scene, vm, { location: lab.datastores, diskIds: ids })
      : {}),
    formats: new Map(ids.map((id) => [id, 'raw'])),
    foreign: (id, body) =>
      temporary(scene, async (path) => {
        const image = images[id];
        if (image === undefined) await runProgram('cp', ['--sparse=always', vm.diskPath(id), path]);
        else await lab.rbd('export', '--no-progress', image, path);
        return await body(path);
      }),
    traces: async () => ({
      ...(await guestTraces(vm)),
      ...(await scene.left()),
      folder: (await readdir(vm.folder)).sort(),
      // The VM of three-storages.ts has an image of its own, and may be tested at the same time.
      images: (await lab.rbd('ls', 'one')).split('\n').filter((name) => name !== threeImageName),
      snapshots: await Promise.all(images.map((image) => lab.rbd('snap', 'ls', image))),
    }),
    async close() {
      if (await vm.isRunning()) await vm.powerOff();
      await scene.close();
      if (lab.startedNow) await downCeph();
      if (libvirt.startedNow) await downLibvirt();
    },
  };
}
