// The whole export, from the checked VM to the finished bundle, from top to bottom. The undo of each change is recorded in
// the journal before the change; withRun carries out what is still recorded at the end.
import type { ConsistencyLevel, ImageFacts, ManifestDisk } from './bundle/format/manifest.ts';
import { bundleTarget } from './bundle/location/destination.ts';
import type { OneClient } from './one/client.ts';
import { getImage } from './one/images.ts';
import { holdLock } from './one/locks.ts';
import { FailedError, UnsupportedError } from './report/errors.ts';
import type { Run } from './run/run.ts';
import type { SshTarget } from './run/runner.ts';
import { snapshotDisks, type SnapshotRequest } from './storage/point-in-time.ts';
import { planDumps } from './storage/registry.ts';
import { withHostAdvice } from './storage/wrong-machine.ts';
import { stateAround } from './storage/machine-state.ts';
import type { VmSnapshot } from './storage/storage.ts';
import type { CompressionChoice } from './bundle/compression/compressions.ts';
import { pickCompressor } from './bundle/write/compressor.ts';
import { activityOf, isInBackup, stateName } from './vm/states.ts';
import { requireSame, requireSameHistory, requireUnchanged } from './one/unchanged-vm.ts';
import { isSharedFolder, isVolatile, type Vm } from './vm/vm.ts';
import { cloudOf, writeBundle } from './write-bundle.ts';
import { isRefusal } from './one/answers.ts';

export interface ExportRequest extends SnapshotRequest {
  readonly compression: CompressionChoice;
  readonly vm: Vm;
  /** Whether to take the VM lock during the export; needs `one`. */
  readonly lock: boolean;
  /** A folder, or the full name of the bundle. */
  readonly destination: string;
  /** The machine that the bundle is written to; undefined: this one. */
  readonly destinationHost?: SshTarget | undefined;
  /** CLOUD_NAME; empty for none. */
  readonly cloudName: string;
  /** DISK_IDs of the disks to export; undefined: all. */
  readonly onlyDisks?: readonly number[] | undefined;
}

/** What --json prints. */
export interface ExportReport {
  /** Path of the bundle; host:path on another machine. */
  readonly bundle: string;
  /** Bytes of the bundle. */
  readonly size: number;
  readonly vm: { readonly id: number; readonly name: string; readonly state: string };
  readonly consistency: {
    readonly level: ConsistencyLevel;
    readonly at: string;
    readonly frozenMs: number;
  };
  readonly disks: readonly ManifestDisk[];
  /** DISK_IDs of disks that were not requested. */
  readonly leftOut: readonly number[];
  readonly seconds: number;
}

/**
 * Exports one VM. Without `one` the VM is not locked and nothing is known about its images.
 * @throws an OnevmdumpError of any kind; then nothing is left behind
 */
export async function exportVm(
  {
    vm,
    lock,
    destination,
    destinationHost,
    cloudName,
    freeze,
    way,
    onlyDisks,
    compression,
  }: ExportRequest,
  run: Run,
  one: OneClient | undefined,
): Promise<ExportReport> {
  const started = new Date();
  const state = stateName(vm.state, vm.lcmState);
  if (isInBackup(vm.lcmState)) {
    throw new FailedError(
      `OpenNebula is backing up VM ${vm.id} (${state}); export it after the backup has ended`,
      { code: 'vm-busy', facts: { vmId: vm.id, state } },
    );
  }
  if (!activityOf(vm.state, vm.lcmState)) {
    throw new UnsupportedError(
      `VM ${vm.id} is in state ${state}; only RUNNING, POWEROFF and UNDEPLOYED VMs can be exported`,
      { code: 'unsupported-state', facts: { vmId: vm.id, state } },
    );
  }
  // First of all, so that a compression that this machine does not have is reported at once.
  const codec = await pickCompressor(compression);
  const images = one ? await imagesOf(vm, one, run) : new Map<number, ImageFacts>();
  const plans = planDumps(vm, images, onlyDisks);
  for (const { id } of vm.disks.filter(isSharedFolder)) {
    run.log.warn(
      `disk ${id} of VM ${vm.id} is left out: it is a folder that its host shares with it (FILESYSTEM), not a disk`,
    );
  }
  const leftOut = vm.disks.map(({ id }) => id).filter((id) => !(onlyDisks?.includes(id) ?? true));
  const target = await bundleTarget(destination, destinationHost, run, {
    vmId: vm.id,
    epoch: Math.floor(started.getTime() / 1000),
    compression: compression.method,
  });
  const bundle = target.name;

  if (lock && one) {
    // Our XML may be older, and the XML that a hook gets does not include locks.
    const before = await requireUnchanged(vm, one, 'since its XML was made');
    requireSame(vm, await holdLock(one, before, run.journal), 'while it was being locked');
  }
  const { fixed: snapshot, state: machineState } = await stateAround(vm, run, () =>
    withHostAdvice(vm, run, () => snapshotDisks(plans, run, { freeze, way })),
  );
  run.log.info(
    `exporting VM ${vm.id} (${state}, ${plans.length} disks, ${inWords(snapshot.consistency)}) to ${bundle}`,
  );

  const consistency = { ...snapshot.consistency };
  const { size, disks } = await writeBundle(
    target,
    {
      vm,
      started,
      disks: snapshot.disks,
      state: machineState,
      images,
      consistency,
      codec,
      cloud: cloudOf(cloudName, one),
      leftOut: onlyDisks && leftOut,
      check: async () => {
        await snapshot.requireUnwritten();
        if (!one) return;
        const when = 'while its disks were being read';
        // A running guest may have been powered off since: its disks are read as of a past point in time.
        if (consistency.level === 'offline') await requireUnchanged(vm, one, when);
        else await requireSameHistory(vm, one, when, consistency.level === 'suspend');
      },
    },
    run,
  );
  return {
    bundle,
    size,
    vm: { id: vm.id, name: vm.name, state },
    consistency,
    disks,
    leftOut,
    seconds: (Date.now() - started.getTime()) / 1000,
  };
}

/** How the point in time was fixed, for the log. */
function inWords({ level, frozenMs }: VmSnapshot['consistency']): string {
  switch (level) {
    case 'offline':
      return 'consistent: powered off';
    case 'agent':
      return `consistent: file systems frozen by the guest agent for ${frozenMs} ms`;
    case 'suspend':
      return `as after a power cut: guest paused for ${frozenMs} ms`;
    case 'crash':
      return 'as after a power cut: guest not frozen';
  }
}

/**
 * What oned knows about the images of the disks, by DISK_ID; disks without an image are not in it.
 * @throws OpenNebulaError when oned does not answer
 */
export async function imagesOf(
  vm: Vm,
  one: OneClient,
  run: Pick<Run, 'log'>,
): Promise<Map<number, ImageFacts>> {
  const images = new Map<number, ImageFacts>();
  for (const disk of vm.disks) {
    if (disk.imageId === undefined || isVolatile(disk) || isSharedFolder(disk)) continue;
    try {
      images.set(disk.id, (await getImage(one, disk.imageId)).facts);
    } catch (error) {
      // The image was deleted, or this user may not see it: the export goes on without its facts.
      if (!isRefusal(error)) throw error;
      run.log.warn(
        `disk ${disk.id}: nothing is known about its image ${disk.imageId}: ${error.message}`,
      );
    }
  }
  return images;
}
