// The whole `backup`, from oned's request to the bundle in the datastore, from top to bottom. `prebackup` has fixed
// the point in time; the VM is in its BACKUP state meanwhile, so nothing is locked.
import { basename } from 'node:path';
import { bundleTarget } from '../bundle/location/destination.ts';
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

export interface BackupMeans {
  readonly config: Config;
  /** Where journals, and what `prebackup` has prepared, lie. */
  readonly stateFolder: string;
  /** BACKUP_BASE_PATH of OpenNebula's datastore.conf. */
  readonly basePath: string | undefined;
}

/**
 * @returns `ID SIZE_MB FORMAT`, as oned expects: the bundle's name is what it keeps as SOURCE
 * @throws an OnevmdumpError of any kind; nothing is left in the datastore then
 */
export async function backupVm(
  request: BackupRequest,
  means: BackupMeans,
  run: Run,
): Promise<string> {
  const started = new Date();
  const { vmId } = request;
  const datastore = backupDatastore(request.data);
  const { vm, images, snapshot, state } = await disksAtPointInTime(request, means, run);
  const { config } = means;

  const compression = datastore.compression ?? parseCompression(config.compress);
  const folder = bundleFolder(datastore, vmId);
  // Removed again if no bundle comes to lie in it.
  const { host } = datastore;
  // First of all, so that a host that cannot be reached has nothing to be undone.
  await makeBase(datastore, run.runnerAt(host));
  const made = await run.journal.record(removeFolderIfEmpty.undo({ path: folder }), host);
  await makeFolder(run.runnerAt(host), folder).catch(async (error: unknown) => {
    // Not made: there is nothing to remove, and where this failed that would fail, too.
    if (!(error instanceof ConnectionError)) await made.done();
    throw error;
  });
  const target = await bundleTarget(`${folder}/`, host, run, {
    vmId,
    epoch: Math.floor(started.getTime() / 1000),
    compression: compression.method,
  });
  const { disks, consistency } = snapshot;
  const leftOut = notAskedFor(vm, request.diskIds);
  const cloud = cloudOf(config.cloudName, undefined);
  const { size } = await writeBundle(
    target,
    {
      ...{ vm, started, disks, state, images, consistency, compression, cloud },
      ...(leftOut.length > 0 ? { leftOut } : {}),
      check: () => snapshot.requireUnwritten(),
    },
    run,
  );
  await made.done();
  return `${basename(target.name)} ${inMb(size)} raw`;
}

/** Disks with data of the VM's own that BACKUP_CONFIG/DISK_IDS (7.4) leaves out. Those that no backup has are not among them. */
function notAskedFor(vm: Vm, asked: readonly number[]): number[] {
  return vm.disks
    .filter((disk) => !isCdrom(disk) && !isVolatile(disk) && !isSharedFolder(disk))
    .map(({ id }) => id)
    .filter((id) => !asked.includes(id));
}

/** What is to be in the bundle. */
interface AtPointInTime {
  readonly vm: Vm;
  readonly images: ReadonlyMap<number, ImageFacts>;
  readonly snapshot: VmSnapshot;
  readonly state: MachineState;
}

/** From our own `prebackup`, where it was run for this backup; else from the files that the stock one has staged. */
async function disksAtPointInTime(
  request: BackupRequest,
  { config, stateFolder, basePath }: BackupMeans,
  run: Run,
): Promise<AtPointInTime> {
  const { vmId, folder, diskIds } = request;
  const prepared = await findPrepared(stateFolder, vmId, request.vm, run.log);
  if (prepared) {
    const { vm, images, state } = prepared;
    return { vm: request.vm ?? vm, images, snapshot: preparedDisks(prepared, run), state };
  }
  const staging = stagingFolder(folder, vmId, basePath);
  const vm = request.vm ?? (await stagedVm(staging, vmId, run));
  refuseIncrements(vm);
  const images = await imageFacts(vm, config, run.log);
  const there = { ...run, runner: await stagingRunner(vm, run) };
  const snapshot = await stagedDisks({ folder: staging, vm, diskIds }, images, there);
  return { vm, images, snapshot, state: await stagedState(staging, vm, run, there) };
}

/**
 * Where the stock `prebackup` has staged the disks: the VM's host; from 7.2 on those of Ceph lie on a host of the backup
 * datastore's BRIDGE_LIST, where it has one. oned writes the chosen one down. Sources: tm_mad/ceph/prebackup and
 * DispatchManager::backup of OpenNebula 7.4.
 */
async function stagingRunner(vm: Vm, run: Run): Promise<Runner> {
  const bridge = vm.backupConfig && childText(vm.backupConfig, 'LAST_BRIDGE');
  if (vm.history?.tmMad !== 'ceph' || bridge === undefined || bridge === '') return run.runner;
  return run.runnerAt(await targetOfHost(bridge));
}
