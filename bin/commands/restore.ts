// onevmdump restore: bundle -> images, template, VM.
import { resolve } from 'node:path';
import { salvaged, warnOfLostEnd } from '../../lib/bundle/read/lost-end.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import type { Bundle, BundleSource } from '../../lib/bundle/read/bundle.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import type { Config } from '../../lib/config/config.ts';
import { chosenDelivery } from '../../lib/datastore/choose-delivery.ts';
import { ticketDelivery } from '../../lib/datastore/ticket-delivery.ts';
import type { OneClient } from '../../lib/one/client.ts';
import { BundleError, UsageError } from '../../lib/report/errors.ts';
import { restoreVm, type RestoreReport } from '../../lib/restore-vm.ts';
import type { Delivery } from '../../lib/restore/delivery.ts';
import { parseMappings, type Mapping } from '../../lib/restore/mapping.ts';
import { stagedDelivery } from '../../lib/restore/staged.ts';
import type { Run } from '../../lib/run/run.ts';
import { stateFolder } from '../../lib/session/state-folder.ts';
import { withBundleSource } from '../../lib/session/with-bundle.ts';
import { connect, withRun } from '../../lib/session/with-run.ts';
import { configFor, parseId, printMade, withProgress, type CliCommand } from './command.ts';
import { restoreDescription, type RestoreOptions } from './restore-options.ts';

export const restoreCommand: CliCommand<RestoreOptions> = {
  description: restoreDescription,
  run: runRestore,
};

async function runRestore(
  options: RestoreOptions,
  { log, signal }: EntrypointContext,
): Promise<void> {
  const onlyDisks = options.disk?.map((id) => parseId(id, 'a disk id'));
  const mapDatastores = parseMappings(options.mapDatastore ?? [], '--map-datastore');
  const mapNetworks = parseMappings(options.mapNetwork ?? [], '--map-network');
  if (onlyDisks && (options.instantiate || options.restoreNics)) {
    throw new UsageError(
      '--disk registers images only: --instantiate and --restore-nics need all disks',
    );
  }
  const config = await configFor(options, log);
  await withBundleSource(options.bundle, { config, log, signal }, (source) =>
    restoreFrom(source, options, { config, onlyDisks, mapDatastores, mapNetworks, log, signal }),
  );
}

async function restoreFrom(
  source: BundleSource,
  options: RestoreOptions,
  {
    config,
    onlyDisks,
    mapDatastores,
    mapNetworks,
    log,
    signal,
  }: EntrypointContext & {
    readonly config: Config;
    readonly onlyDisks: readonly number[] | undefined;
    readonly mapDatastores: readonly Mapping[];
    readonly mapNetworks: readonly Mapping[];
  },
): Promise<void> {
  const bundle = await openBundle(source, { log, signal, salvage: options.salvage });
  try {
    if (bundle.cut !== undefined && bundle.disks.length === 0) {
      throw new BundleError(`bundle ${bundle.name}: ${bundle.cut}; no disk of it is complete`);
    }
    warnOfLostEnd(bundle, log);
    const folder = await stateFolder(config.stateDir, process.env);
    const one = await connect({ config, endpoint: options.endpoint, log, signal });
    const report = await withProgress(log, (progress) =>
      withRun({ config, action: 'restore', vmId: undefined, log, progress, signal }, (run) =>
        restoreVm(
          {
            bundle,
            name: options.name,
            instantiate: options.instantiate,
            nics: options.restoreNics
              ? options.noIp
                ? 'new-addresses'
                : 'same-addresses'
              : 'none',
            datastore: options.datastore,
            mapDatastores,
            mapNetworks,
            onlyDisks,
            volatile: options.volatile,
            noHostAttributes: options.noRestricted,
            owner: options.owner,
            checkCapacity: !options.noCheckCapacity,
            imageTimeoutMs: config.imageTimeout * 1000,
          },
          { run, one, delivery: deliveryFor(bundle, options, { config, run, one, folder }) },
        ),
      ),
    );
    const cut = bundle.cut ?? null;
    const partial = cut === null ? undefined : salvaged(whatIsMissing(report));
    await printMade(options, resultLine(report), { ...report, cut }, partial);
    if (partial) throw partial;
  } finally {
    await bundle.close();
  }
}

function deliveryFor(
  bundle: Bundle,
  options: RestoreOptions,
  {
    config,
    run,
    one,
    folder,
  }: {
    readonly config: Config;
    readonly run: Run;
    readonly one: OneClient;
    readonly folder: string;
  },
): Delivery {
  const way = options.delivery ?? config.delivery;
  const staged = stagedDelivery(stagingFolder(options, config), run);
  const address = ticketDelivery({
    ...{ bundle, one, run },
    location: options.bundle,
    stateFolder: folder,
    oneLocation: process.env['ONE_LOCATION'],
  });
  return chosenDelivery(way, { staged, address }, run.log);
}

/** As an absolute path, because oned gets it, and oned has another working directory. */
function stagingFolder({ stagingDir }: RestoreOptions, config: Config): string {
  if (stagingDir === '') throw new UsageError('--staging-dir is empty');
  return stagingDir === undefined ? config.stagingDir : resolve(stagingDir);
}

function whatIsMissing({ missing, images }: RestoreReport): string {
  const lost = missing.length === 0 ? 'no disk is missing' : `missing: disk ${missing.join(', ')}`;
  return `${images.length === 1 ? 'one disk was' : `${images.length} disks were`} restored, ${lost}`;
}

/** In the words of the older onevmdump. */
function resultLine({ vmId, templateId, images }: RestoreReport): string {
  if (vmId !== null) return `VM Restored: ${vmId}`;
  if (templateId !== null) return `VM Template restored: ${templateId}`;
  return images.map(({ imageId }) => `Image restored: ${imageId}`).join('\n');
}
