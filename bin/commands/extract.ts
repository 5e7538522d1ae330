// onevmdump extract: writes one disk of a bundle, or the VM's XML, to a file. OpenNebula is not needed.
import { resolve } from 'node:path';
import type { BundleSource } from '../../lib/bundle/read/bundle.ts';
import { salvaged, warnOfLostEnd } from '../../lib/bundle/read/lost-end.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { extractBytes, extractDisk } from '../../lib/restore/extract-disk.ts';
import { errorMessage, UsageError } from '../../lib/report/errors.ts';
import { printBytes } from '../../lib/report/print.ts';
import { diskOf, formatOf } from '../../lib/restore/restorable.ts';
import type { Journal } from '../../lib/run/journal.ts';
import { withBundleSource } from '../../lib/session/with-bundle.ts';
import { withConnections } from '../../lib/session/with-run.ts';
import { configFor, parseId, printMade, withProgress, type CliCommand } from './command.ts';
import { extractDescription, type ExtractOptions } from './extract-options.ts';

export const extractCommand: CliCommand<ExtractOptions> = {
  description: extractDescription,
  run: runExtract,
};

async function runExtract(
  options: ExtractOptions,
  { log, signal }: EntrypointContext,
): Promise<void> {
  const { disk, output } = options;
  if (options.vmXml === (disk !== undefined)) {
    throw new UsageError('give either --disk or --vm-xml (see: onevmdump extract --help)');
  }
  if (options.vmXml && options.format !== undefined) {
    throw new UsageError('--format is for disks only');
  }
  if (options.vmXml && options.json && output === undefined) {
    throw new UsageError('--vm-xml with --json needs --output');
  }
  const diskId = disk === undefined ? undefined : parseId(disk, 'the disk id');
  const config = await configFor(options, log);
  await withConnections('extract', { config, log }, ({ record }) =>
    withBundleSource(options.bundle, { config, log, signal }, (source) =>
      extractFrom(source, options, {
        diskId,
        output,
        record: orWithout(record, (text) => log.warn(text)),
        log,
        signal,
      }),
    ),
  );
}

/** Goes on without a journal if none can be written, as on a rescue system. */
function orWithout(record: Journal['record'], warn: (text: string) => void): Journal['record'] {
  return async (undo, on) => {
    try {
      return await record(undo, on);
    } catch (error) {
      warn(`cleanup will not find what a killed extract leaves: ${errorMessage(error)}`);
      return { done: () => Promise.resolve() };
    }
  };
}

async function extractFrom(
  source: BundleSource,
  options: ExtractOptions,
  {
    diskId,
    output,
    record,
    log,
    signal,
  }: EntrypointContext & {
    readonly diskId: number | undefined;
    readonly output: string | undefined;
    readonly record: Journal['record'];
  },
): Promise<void> {
  const { force } = options;
  const what = diskId === undefined ? "the VM's XML" : `disk ${diskId}`;
  const bundle = await openBundle(source, { log, signal, salvage: options.salvage });
  try {
    warnOfLostEnd(bundle, log);
    const partial =
      bundle.cut === undefined
        ? undefined
        : salvaged(`${what} was extracted; the rest may be lost`);
    if (diskId === undefined) {
      if (output === undefined) {
        await printBytes(bundle.vmXml);
        if (partial) throw partial;
        return;
      }
      const file = resolve(output);
      await extractBytes(bundle.vmXml, { file, force, source: source.identity }, record);
      const report = { bundle: bundle.name, file, size: bundle.vmXml.length };
      await printMade(options, file, report, partial);
      if (partial) throw partial;
      return;
    }
    const format = options.format ?? formatOf(bundle, diskOf(bundle, diskId));
    const file = resolve(output ?? `disk.${diskId}.${format}`);
    const report = await withProgress(log, (progress) =>
      extractDisk(
        { bundle, diskId, format, file, force, source: source.identity },
        { log, signal, progress, record },
      ),
    );
    await printMade(options, file, report, partial);
    if (partial) throw partial;
  } finally {
    await bundle.close();
  }
}
