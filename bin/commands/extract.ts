// onevmdump extract: one disk of a bundle, or the VM's XML, as a file. OpenNebula is not asked.
import { resolve } from 'node:path';
import type { Bundle, BundleSource } from '../../lib/bundle/read/bundle.ts';
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
import {
  configFor,
  parseId,
  printResult,
  withProgress,
  type CommandDefinition,
  type GlobalOptions,
} from './command.ts';

interface ExtractOptions extends GlobalOptions {
  readonly bundle: string;
  readonly disk: string | undefined;
  readonly vmXml: boolean;
  readonly output: string | undefined;
  readonly format: 'raw' | 'qcow2' | undefined;
  readonly force: boolean;
  readonly salvage: boolean;
}

export const extractCommand: CommandDefinition<ExtractOptions> = {
  words: 'extract <bundle>',
  describe: "Write one disk of a bundle, or the VM's XML, into a file; OpenNebula is not needed",
  options: (argv) =>
    argv
      .usage('$0 extract <bundle> --disk <id> [options]')
      .positional('bundle', {
        type: 'string',
        describe: 'The bundle; [user@]host:path on another machine',
        demandOption: true,
      })
      .options({
        disk: { type: 'string', requiresArg: true, describe: 'The disk to extract' },
        'vm-xml': {
          type: 'boolean',
          default: false,
          describe: "Extract the VM's XML instead, to stdout without --output",
        },
        output: {
          alias: 'o',
          type: 'string',
          requiresArg: true,
          describe: 'The file to write',
          defaultDescription: 'disk.<id>.<format>',
        },
        format: {
          choices: ['raw', 'qcow2'],
          describe: 'Convert the disk to this format, by qemu-img',
          defaultDescription: 'as in the bundle',
        },
        force: { type: 'boolean', default: false, describe: 'Replace the file if it exists' },
        salvage: {
          type: 'boolean',
          default: false,
          describe: 'Also from a bundle that lost its end, if the disk is whole (exit code 7)',
        },
      })
      .example('$0 extract bundle.tar.gz --disk 0 -o web.qcow2', 'one disk')
      .example('$0 extract store:/backups/bundle.tar.gz --vm-xml', "a remote bundle's XML"),
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

/** Where no journal can be written, such as on a rescue system, a disk is extracted all the same. */
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
  const told = diskId === undefined ? "the VM's XML" : `disk ${diskId}`;
  const bundle = await openBundle(source, { log, signal, salvage: options.salvage });
  try {
    warnOfLostEnd(bundle, log);
    if (diskId === undefined) {
      if (output === undefined) {
        await printBytes(bundle.vmXml);
        requireWhole(bundle, told);
        return;
      }
      const file = resolve(output);
      await extractBytes(bundle.vmXml, { file, force, source: source.identity }, record);
      await printResult(options, file, { bundle: bundle.name, file, size: bundle.vmXml.length });
      requireWhole(bundle, told);
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
    await printResult(options, file, report);
    requireWhole(bundle, told);
  } finally {
    await bundle.close();
  }
}

/** After the work is done. @throws PartialError when there was more than could be read */
function requireWhole({ cut }: Bundle, extracted: string): void {
  if (cut !== undefined) throw salvaged(`${extracted} was extracted; the rest may be lost`);
}
