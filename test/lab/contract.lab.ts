// The contract of all storages, by the built command on real libvirt, LVM and Ceph.
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeStandIns } from '../e2e/stand-ins.ts';
import { downCeph, upCeph } from './ceph.ts';
import { describeContract, type ContractStorage } from './contract.ts';
import { leftOfGuest, makeScene, type ExportScene } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import {
  activeVolumes,
  cleanupOn,
  exportOn,
  folder as hostFolder,
  hostStandIns,
  leftOn,
  prepareHost,
  tidyHost,
  withBundle,
} from './lvm-host.ts';
import { downLvm, upLvm } from './lvm.ts';
import { runProgram } from './program.ts';

// Files, and disks mixed of Ceph and files, are ended at every command. In user-mode Linux, where LVM is, that takes half
// an hour: lvm-export.lab.ts does it where it matters.
const none = { atEachCommand: [] } as const;
const ended = { atEachCommand: ['fail', 'SIGTERM', 'SIGKILL'] } as const;
describeContract('files of TM qcow2', () => files('qcow2'), ended);
describeContract('files of TM ssh', () => files('ssh'), none);
describeContract('thick LVM volumes', () => volumes('thick'), none);
describeContract('thin LVM volumes', () => volumes('thin'), none);
describeContract('Ceph', () => ceph('vm'), none);
describeContract('Ceph with a volatile disk in a file', () => ceph('mixed'), ended);

async function files(tm: 'qcow2' | 'ssh'): Promise<ContractStorage> {
  const lab = await upLibvirt();
  const scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_LIBVIRT_URI: lab.uri,
  });
  const vm = lab[tm];
  const wasRunning = await vm.isRunning();
  const formats = new Map([
    [0, 'qcow2'],
    [1, 'raw'],
    [2, 'raw'],
    [3, 'qcow2'],
  ] as const);
  return {
    ...local(scene, vm),
    formats,
    foreign: (id, body) =>
      temporary(scene, async (path) => {
        const from = ['-U', '-f', formats.get(id as 0) ?? 'raw', vm.diskPath(id)];
        await runProgram('qemu-img', ['convert', ...from, '-O', 'raw', path]);
        return await body(path);
      }),
    traces: async () => ({
      ...(await guestTraces(vm)),
      ...(await scene.leftHere()),
      folder: (await readdir(vm.folder)).sort(),
      // What runs writes to its disks.
      sums: (await vm.isRunning()) ? undefined : await checksums(vm, [...formats.keys()]),
    }),
    async close() {
      if (wasRunning) await vm.start();
      else if (await vm.isRunning()) await vm.powerOff();
      await scene.close();
      if (lab.startedNow) await downLibvirt();
    },
  };
}

async function ceph(which: 'vm' | 'mixed'): Promise<ContractStorage> {
  const libvirt: LibvirtLab = await upLibvirt();
  const lab = await upCeph();
  const scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_LIBVIRT_URI: libvirt.uri,
  });
  const vm = lab[which];
  const images: readonly string[] = which === 'vm' ? lab.images : [lab.mixedImage];
  const ids = which === 'vm' ? [0, 1, 2, 3] : [0, 1];
  return {
    ...local(scene, vm),
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
      ...(await scene.leftHere()),
      folder: (await readdir(vm.folder)).sort(),
      images: await lab.rbd('ls', 'one'),
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

async function volumes(kind: 'thick' | 'thin'): Promise<ContractStorage> {
  const lab = await upLvm();
  await prepareHost(lab);
  // The host has one CPU: one guest at a time.
  for (const other of [lab.thick, lab.thin]) if (await other.isRunning()) await other.powerOff();
  const vm = lab[kind];
  const group = kind === 'thick' ? 'vg-one-110' : 'vg-one-111';
  const activate = ['lvchange', '-q', '-ay', ...(kind === 'thin' ? ['-K'] : [])].join(' ');
  return {
    vm,
    formats: new Map([
      [0, 'raw'],
      [1, 'raw'],
    ]),
    exportVm: (args, env = {}) => exportOn(lab, vm, { args, env }),
    extracted: (bundle, body) => withBundle(lab, bundle, body),
    async foreign(id, body) {
      const volume = `${group}/lv-one-${vm.id}-${id}`;
      const was = (await activeVolumes(lab, vm)).includes(`lv-one-${vm.id}-${id}`);
      const out = await mkdtemp('/var/tmp/onevmdump-contract-');
      try {
        if (!was) await lab.run(`${activate} ${volume}`);
        await lab.copyOut(`/dev/${volume}`, join(out, 'disk'));
        return await body(join(out, 'disk'));
      } finally {
        if (!was) await lab.run(`lvchange -q -an ${volume}`);
        await rm(out, { recursive: true });
      }
    },
    traces: async () => ({
      ...(await guestTraces(vm)),
      left: await leftOn(lab),
      active: await activeVolumes(lab, vm),
      volumes: await lab.run('lvs --noheadings -o vg_name,lv_name,lv_size'),
      bundles: (await lab.run(`ls ${hostFolder}`)).match(/.*\.(gz|part)$/gm) ?? [],
    }),
    removeBundles: async () => {
      await lab.run(`rm -f ${hostFolder}/*.tar.gz`);
    },
    cleanup: () => cleanupOn(lab),
    standIns: () => hostStandIns(lab),
    async close() {
      if (await vm.isRunning()) await vm.powerOff();
      await tidyHost(lab);
      if (lab.startedNow) await downLvm();
    },
  };
}

/** What is alike for all storages that this machine sees. */
function local(
  scene: ExportScene,
  vm: LabVm,
): Omit<ContractStorage, 'formats' | 'foreign' | 'traces' | 'close'> {
  return {
    vm,
    exportVm: (args, env) => scene.exportOf(vm, args, env ? { env } : {}),
    extracted: async (bundle, body) => {
      const result = await scene.extracted(bundle, async (out) => {
        await rename(bundle, join(out, 'bundle'));
        return await body(out);
      });
      return result;
    },
    removeBundles: () => scene.removeBundles(),
    cleanup: () => scene.onevmdump(['cleanup']),
    standIns: () => makeStandIns(scene.folder),
  };
}

async function guestTraces(vm: LabVm): Promise<object> {
  return (await vm.isRunning()) ? await leftOfGuest(vm) : { state: 'off' };
}

async function temporary<T>(scene: ExportScene, body: (path: string) => Promise<T>): Promise<T> {
  const out = await mkdtemp(join(scene.folder, 'foreign-'));
  try {
    return await body(join(out, 'disk'));
  } finally {
    await rm(out, { recursive: true });
  }
}

async function checksums(vm: LabVm, ids: readonly number[]): Promise<string> {
  return runProgram('sha256sum', [...ids.map((id) => vm.diskPath(id))]);
}
