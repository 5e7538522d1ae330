// The whole `backup`, from oned's request to the bundle in the datastore, from top to bottom. The disks
// come from what `prebackup` left; the VM is in its BACKUP state meanwhile, so nothing is locked.
import { basename } from 'node:path';
import { bundleTarget } from '../destination.ts';
import { imagesOf } from '../export-vm.ts';
import { parseCompression } from '../input/compression.ts';
import type { Config } from '../input/config.ts';
import type { OneClient } from '../one/client.ts';
import { errorMessage, OpenNebulaError, UnsupportedError, UsageError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { ImageFacts } from '../bundle/manifest.ts';
import { isThisMachine } from '../run/local-host.ts';
import type { Run } from '../run/run.ts';
import type { Vm } from '../vm/vm.ts';
import { connect } from '../with-run.ts';
import { writeBundle } from '../write-bundle.ts';
import { backupDatastore, bundleFolder } from './backup-datastore.ts';
import { refuseIncrements, type BackupRequest } from './backup-request.ts';
import { makeBase, makeFolder } from './housekeeping.ts';
import { inMb } from './open-bundle.ts';
import { stagedDisks, stagedVm, stagingFolder } from './staged-disks.ts';

/**
 * @param basePath BACKUP_BASE_PATH of OpenNebula's datastore.conf
 * @returns `ID SIZE_MB FORMAT`, as oned expects: the bundle's name is what it keeps as SOURCE
 * @throws an OnevmdumpError of any kind; nothing is left in the datastore then
 */
export async function backupVm(
  request: BackupRequest,
  { config, basePath }: { readonly config: Config; readonly basePath: string | undefined },
  run: Run,
): Promise<string> {
  const started = new Date();
  const { vmId } = request;
  const datastore = backupDatastore(request.data);
  if (!(await isThisMachine(request.host))) {
    throw new UnsupportedError(
      `VM ${vmId} is on host ${request.host}, and only disks on this machine can be read yet`,
    );
  }
  const staging = stagingFolder(request.folder, vmId, basePath);
  const vm = request.vm ?? (await stagedVm(staging, vmId, run));
  refuseIncrements(vm);
  const images = await imageFacts(vm, config, run.log);
  const snapshot = await stagedDisks(
    { folder: staging, vm, diskIds: request.diskIds },
    images,
    run,
  );

  const compression = datastore.compression ?? parseCompression(config.compress);
  const folder = bundleFolder(datastore, vmId);
  // Removed again if no bundle comes to lie in it.
  const { host } = datastore;
  // First of all, so that a host that cannot be reached has nothing to be undone.
  await makeBase(datastore, run.runnerAt(host));
  const made = await run.journal.record({ kind: 'remove-empty-folder', path: folder }, host);
  await makeFolder(run.runnerAt(host), folder);
  const target = await bundleTarget(`${folder}/`, host, run, {
    vmId,
    epoch: Math.floor(started.getTime() / 1000),
    compression: compression.method,
  });
  const { disks, consistency } = snapshot;
  const { size } = await writeBundle(
    target,
    { vm, started, disks, images, consistency, compression },
    run,
  );
  await made.done();
  return `${basename(target.name)} ${inMb(size)} raw`;
}

/** What oned knows of the images makes a restore truer; a backup does without, too. */
async function imageFacts(
  vm: Vm,
  config: Config,
  log: Log,
): Promise<ReadonlyMap<number, ImageFacts>> {
  try {
    const one: OneClient = await connect({ config, endpoint: undefined, log });
    return await imagesOf(vm, one, { log });
  } catch (error) {
    if (!(error instanceof OpenNebulaError) && !(error instanceof UsageError)) throw error;
    log.warn(`nothing is known of the images of VM ${vm.id}: ${errorMessage(error)}`);
    return new Map();
  }
}
