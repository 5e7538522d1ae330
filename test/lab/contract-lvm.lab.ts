// The contract for logical volumes, by the built command on a host in user-mode Linux, and by ssh from here. To
// fail, end and kill exports at each command takes an hour there, by hand: they are ended where it matters in
// lvm-export.lab.ts.
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ended } from '../support/shell.ts';
import { describeContract, waysByDefault, type ContractStorage } from './contract.ts';
import { sceneBySsh } from './lvm-by-ssh.ts';
import {
  activeVolumes,
  cleanupOn,
  exportOn,
  folder as hostFolder,
  watchdogsOn,
  hostStandIns,
  type HostStandIns,
  prepareHost,
  tidyHost,
  tracesOn,
  withBundle,
} from './lvm-host.ts';
import { downLvm, upLvm } from './lvm.ts';
import { backedUpByOned } from './oned-backup.ts';

const ways = ['job', 'snapshots'] as const;
describeContract('thick LVM volumes', () => volumes('thick'), { ways });
// Their snapshots are taken by ssh, below.
describeContract('thin LVM volumes', () => volumes('thin'), { ways: waysByDefault('job') });
// Every program takes its tenths of a second there: by ssh each way is taken once.
describeContract('thin LVM volumes by ssh', () => bySsh('thin'), {
  ways: waysByDefault('snapshots'),
});
// By hand, for time: lvm-ssh.lab.ts and the contract of thin volumes by ssh go the same way.
if (process.env['ONEVMDUMP_LAB_EACH'] === '1') {
  describeContract('thick LVM volumes by ssh', () => bySsh('thick'), {
    ways: waysByDefault('job'),
  });
  describeContract('thin LVM volumes, backed up by oned', () => bySsh('thin', 'oned'), {
    ways: waysByDefault('job'),
    noStandIns: true,
  });
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
      host: await tracesOn(lab, vm),
      frozen: (await vm.isRunning()) && (await vm.isFrozen()),
    }),
    watchdogs: () => watchdogsOn(lab),
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

/** The command, or oned's driver actions, run here, as whoever is oneadmin there; the bundle comes here. */
async function bySsh(
  kind: 'thick' | 'thin',
  who: 'command' | 'oned' = 'command',
): Promise<ContractStorage> {
  const there = await volumes(kind);
  const lab = await upLvm();
  const scene = await sceneBySsh(lab);
  const { vm } = there;
  let standIns: HostStandIns | undefined;
  const wish = { host: lab.host, location: '/var/lib/one/datastores', diskIds: [0, 1] };
  return {
    ...there,
    exportVm: (args, env) => {
      const exported = (): Promise<Ended> => scene.exportOf(vm, args);
      // With an environment it is meant to meet the stand-ins.
      return env && standIns ? scene.met(standIns, exported) : exported();
    },
    standIns: async () => (standIns = await scene.standIns()),
    extracted: (bundle, body) =>
      scene.extracted(bundle, async (out) => {
        await rename(bundle, join(out, 'bundle'));
        return await body(out);
      }),
    traces: async () => ({ here: await scene.leftByNow(), there: await there.traces() }),
    removeBundles: () => scene.removeBundles(),
    cleanup: () => scene.onevmdump(['cleanup']),
    ...(who === 'oned' ? backedUpByOned(scene, vm, wish) : {}),
    async close() {
      await scene.close();
      await there.close();
    },
  };
}
