// The whole `backup`, from oned's request to the bundle in the datastore, from top to bottom. `prebackup` has fixed the point
// in time. OpenNebula keeps the VM in a BACKUP state until the end, so no VM lock is needed.
import { basename } from 'node:path';
import { bundleTarget } from '../bundle/location/destination.ts';
import { pickCompressor } from '../bundle/write/compressor.ts';
import { removeFolderIfEmpty } from '../bundle/location/undo.ts';
import { parseCompression } from '../config/compression.ts';
import { childText } from '../xml/xml.ts';
import type { Config } from '../config/config.ts';
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { ConnectionError } from '../report/errors.ts';
import { targetOfHost } from '../run/local-host.ts';
import type { Run } from '../run/run.ts';
import type { Runner } from '../run/runner.ts';
import type { MachineState } from '../storage/machine-state.ts';
import type { VmSnapshot } from '../storage/storage.ts';
import { requireKvm } from '../vm/hypervisor.ts';
import { isCdrom, isSharedFolder, isVolatile, type Vm } from '../vm/vm.ts';
import { cloudOf, writeBundle } from '../write-bundle.ts';
import { backupDatastore, bundleFolder } from '../datastore/backup-datastore.ts';
import { refuseIncrements, type BackupRequest } from './backup-request.ts';
import { makeBase, makeFolder } from '../datastore/housekeeping.ts';
import { imageFacts } from './image-facts.ts';
import { inMb } from '../datastore/open-bundle.ts';
import { findPrepared, preparedDisks } from './prepared-backup.ts';
import { stagedDisks, stagedVm, stagingFolder } from './staged-disks.ts';
import { stagedState } from './staged-state.ts';

export interface BackupDeps {
  readonly config: Config;
  /** The folder of the journals and of the files that `prebackup` wrote. */
  readonly stateFolder: string;
  /** BACKUP_BASE_PATH of OpenNebula's datastore.conf. */
  readonly basePath: string | undefined;
}

/**
 * Makes the backup.
 * @returns `ID SIZE_MB FORMAT`, as oned expects; the id is the bundle's name, which oned keeps as SOURCE
 * @throws an OnevmdumpError of any kind; then nothing is left in the datastore
 */
export async function backupVm(
  request: BackupRequest,
  means: BackupDeps,
  run: Run,
): Promise<string> {
  const started = new Date();
  const { vmId } = request;
  const datastore = backupDatastore(request.data);
  const { vm, images, snapshot, state } = await disksAtPointInTime(request, means, run);
  const { config } = means;

  const compression = datastore.compression ?? parseCompression(config.compress);
  const folder = bundleFolder(datastore, vmId);
  const { host } = datastore;
  // First of all, so that nothing has to be undone on a host that cannot be reached.
  await makeBase(datastore, run.runnerAt(host));
  // A failed backup removes the VM's folder again, if it is empty.
  const made = await run.journal.record(removeFolderIfEmpty.undo({ path: folder }), host);
  await makeFolder(run.runnerAt(host), folder).catch(async (error: unknown) => {
    // The folder was not made. Its undo would also fail on a host that cannot be reached.
    if (!(error instanceof ConnectionError)) await made.done();
    throw error;
  });
  const target = await bundleTarget(`${folder}/`, host, run, {
    vmId,
    epoch: Math.floor(started.getTime() / 1000),
    compression: compression.method,
  });
  const codec = await pickCompressor(compression);
  const { disks, consistency } = snapshot;
  const leftOut = notAskedFor(vm, request.diskIds);
  const cloud = cloudOf(config.cloudName, undefined);
  const { size } = await writeBundle(
    target,
    {
      ...{ vm, started, disks, state, images, consistency, codec, cloud },
      ...(leftOut.length > 0 ? { leftOut } : {}),
      check: () => snapshot.requireUnwritten(),
    },
    run,
  );
  await made.done();
  return `${basename(target.name)} ${inMb(size)} raw`;
}

/** Disks that BACKUP_CONFIG/DISK_IDS (7.4) leaves out, without those that OpenNebula leaves out of every backup. */
function notAskedFor(vm: Vm, asked: readonly number[]): number[] {
  return vm.disks
    .filter((disk) => !isCdrom(disk) && !isVolatile(disk) && !isSharedFolder(disk))
    .map(({ id }) => id)
    .filter((id) => !asked.includes(id));
}

/** The content of the bundle as of the point in time. */
interface BackupContent {
  readonly vm: Vm;
  readonly images: ReadonlyMap<number, ImageFacts>;
  readonly snapshot: VmSnapshot;
  readonly state: MachineState;
}

/** From our own `prebackup` if it ran for this backup; else from the files that the stock one has staged. */
async function disksAtPointInTime(
  request: BackupRequest,
  { config, stateFolder, basePath }: BackupDeps,
  run: Run,
): Promise<BackupContent> {
  const { vmId, folder, diskIds } = request;
  const prepared = await findPrepared(stateFolder, vmId, request.vm, run.log);
  if (prepared) {
    const { vm, images, state } = prepared;
    return { vm: request.vm ?? vm, images, snapshot: preparedDisks(prepared, run), state };
  }
  const staging = stagingFolder(folder, vmId, basePath);
  const vm = request.vm ?? (await stagedVm(staging, vmId, run));
  requireKvm(vm);
  refuseIncrements(vm);
  const images = await imageFacts(vm, config, run.log);
  const there = { ...run, runner: await stagingRunner(vm, run) };
  const snapshot = await stagedDisks({ folder: staging, vm, diskIds }, images, there);
  return { vm, images, snapshot, state: await stagedState(staging, vm, run, there) };
}

/**
 * The machine on which the stock `prebackup` has staged the disks. This is the VM's host, except for Ceph from 7.2 on: if the
 * backup datastore has a BRIDGE_LIST, oned chooses a host from it and writes it to LAST_BRIDGE. Sources:
 * tm_mad/ceph/prebackup and DispatchManager::backup of OpenNebula 7.4.
 */
async function stagingRunner(vm: Vm, run: Run): Promise<Runner> {
  const bridge = vm.backupConfig && childText(vm.backupConfig, 'LAST_BRIDGE');
  if (vm.history?.tmMad !== 'ceph' || bridge === undefined || bridge === '') return run.runner;
  return run.runnerAt(await targetOfHost(bridge));
}
