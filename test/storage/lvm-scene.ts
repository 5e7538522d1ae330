// A VM whose disks are on LVM, as far as libvirt and LVM are asked about it.
import type { Run } from '../../lib/run/run.ts';
import type { Undo } from '../../lib/run/undo.ts';
import { undoHandlers } from '../../lib/session/undo-handlers.ts';
import type { LvmSettings } from '../../lib/storage/lvm/settings.ts';
import { snapshotDisks, type SnapshotRequest } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import type { VmSnapshot } from '../../lib/storage/storage.ts';
import type { Disk, Vm } from '../../lib/vm/vm.ts';
import { fakeLibvirt, type FakeDisk, type FakeLibvirt } from '../support/fake-libvirt.ts';
import { quiet } from '../support/nbd-servers.ts';
import { disk, inWorld, settingsWith, vm, type World } from '../support/storage-world.ts';
import { fakeLvm, type FakeLvm, type FakeLvmFacts } from './fake-lvm.ts';

export const lvmDisk = (id: number, facts: Partial<Disk> = {}): Disk =>
  disk(id, { type: 'BLOCK', tmMad: 'fs_lvm_ssh', target: `vd${'ab'.charAt(id)}`, ...facts });

export const thick = [
  { name: 'lv-one-7-0', mb: 200 },
  { name: 'lv-one-7-1', mb: 64 },
];

/** The snapshots of the volumes, which is not the default for running VMs. */
export const byStorage: SnapshotRequest = {
  freeze: { mode: 'agent', required: false },
  way: 'storage',
};

export interface Scene {
  readonly world: World;
  readonly run: Run;
  readonly lvm: FakeLvm;
  readonly libvirt: FakeLibvirt;
  readonly warnings: string[];
  readonly fix: () => Promise<VmSnapshot>;
  readonly undo: () => Promise<void>;
}

export interface SceneFacts extends Partial<FakeLvmFacts> {
  readonly vm: Partial<Vm>;
  readonly disks?: readonly Disk[];
  readonly domain?: readonly FakeDisk[];
  readonly wish?: LvmSettings;
  readonly agentAnswers?: boolean;
  readonly meddleLibvirt?: (call: string) => void;
}

export const asOpenNebulaDeploys: readonly FakeDisk[] = [0, 1].map((id) => ({
  target: `vd${'ab'.charAt(id)}`,
  file: `/var/lib/one/datastores/0/7/disk.${id}`,
  format: 'raw',
  type: 'block',
}));

/** The scene for as long as `body` runs. */
export async function inScene(
  facts: SceneFacts,
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  await inWorld(async (world) => {
    const warnings: string[] = [];
    const libvirt = fakeLibvirt({
      name: 'one-7',
      disks: facts.domain ?? asOpenNebulaDeploys,
      meddle: (command) => {
        facts.meddleLibvirt?.(command);
        if (facts.agentAnswers === false && command.startsWith('guest-fsfreeze-status')) {
          throw new Error('Guest agent is not responding');
        }
      },
    });
    const lvm = fakeLvm(libvirt.runner, { group: 'vg-one-0', volumes: thick, ...facts });
    const run = {
      ...world.run,
      runner: lvm.runner,
      runnerAt: () => lvm.runner,
      log: { ...quiet, warn: (text: string) => void warnings.push(text) },
      settings: settingsWith({
        LVM_SNAPSHOT_PERCENT: String(facts.wish?.percent ?? 20),
        LVM_SNAPSHOT_MIN_MB: String(facts.wish?.minMb ?? 8),
      }),
    };
    const handlers = undoHandlers({
      log: world.run.log,
      answerMs: 0,
      connect: () => Promise.reject(new Error('OpenNebula is not needed')),
      runnerAt: () => lvm.runner,
    });
    const planned = vm(facts.disks ?? [lvmDisk(0), lvmDisk(1)], facts.vm);
    await body({
      ...{ world, run, lvm, libvirt, warnings },
      fix: () => snapshotDisks(planDumps(planned, new Map()), run, byStorage),
      async undo() {
        const left: Undo[] = [...world.undone()].reverse();
        for (const undo of left) await handlers.carryOut({ undo, on: undefined });
      },
    });
  });
}
