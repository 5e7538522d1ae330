// onevmdump list: the bundles of a folder, a line each, from their manifests alone.
import type { Manifest } from '../../lib/bundle/manifest.ts';
import { findTrailer, openBundle } from '../../lib/bundle/reader.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { ConnectionError, errorMessage } from '../../lib/report/errors.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { withBundleFolder, type BundleFolder } from '../../lib/with-bundle.ts';
import { configFor, printResult, type CommandDefinition, type GlobalOptions } from './command.ts';
import { textTable } from './text-table.ts';

interface ListOptions extends GlobalOptions {
  readonly folder: string;
}

interface ListedBundle {
  readonly file: string;
  /** Bytes; absent when it cannot be opened. */
  readonly size?: number;
  /** Absent for a bundle without manifest. */
  readonly manifest?: Manifest;
  /** Why nothing more is known. */
  readonly note?: string;
}

export const listCommand: CommandDefinition<ListOptions> = {
  words: 'list <folder>',
  describe: 'List the bundles in a folder',
  options: (argv) =>
    argv.usage('$0 list <folder>').positional('folder', {
      type: 'string',
      describe: 'The folder; [user@]host:path on another machine',
      demandOption: true,
    }),
  run: runList,
};

async function runList(options: ListOptions, context: EntrypointContext): Promise<void> {
  const { folder } = options;
  const { log, signal } = context;
  const config = await configFor(options, log);
  const bundles = await withBundleFolder(folder, { config, log, signal }, async (there) => {
    const found: ListedBundle[] = [];
    for (const name of there.names.filter((one) => /\.(tar(\.gz|\.zst)?|tgz)$/.test(one)).sort()) {
      found.push(await look(there, name, context));
    }
    return found;
  });
  await printResult(options, plain(folder, bundles), { folder, bundles: bundles.map(report) });
}

/** Never reads a bundle whole: one without an index is only named. */
async function look(
  folder: BundleFolder,
  file: string,
  { log, signal }: EntrypointContext,
): Promise<ListedBundle> {
  let size: number | undefined;
  try {
    const source = await folder.open(file);
    size = source.size;
    if (!(await findTrailer(source))) {
      await source.close();
      return { file, size, note: 'no index: see onevmdump show' };
    }
    const bundle = await openBundle(source, { log, signal });
    await bundle.close();
    const { manifest } = bundle;
    return manifest ? { file, size, manifest } : { file, size, note: 'no manifest' };
  } catch (error) {
    signal.throwIfAborted();
    // The others could not be opened either.
    if (error instanceof ConnectionError) throw error;
    return { file, ...(size === undefined ? {} : { size }), note: errorMessage(error) };
  }
}

function plain(folder: string, bundles: readonly ListedBundle[]): string {
  if (bundles.length === 0) return `no bundles in ${folder}`;
  const head = ['VM', 'NAME', 'STATE', 'CONSISTENCY', 'EXPORTED', 'DISKS', 'SIZE', 'FILE'];
  const rows = bundles.map(({ file, size, manifest, note }) =>
    manifest
      ? [
          String(manifest.vm.id),
          manifest.vm.name,
          manifest.vm.state,
          manifest.consistency.level,
          manifest.created.slice(0, 19),
          disksInWords(manifest),
          sizeInWords(size),
          file,
        ]
      : ['-', '-', '-', '-', '-', '-', sizeInWords(size), `${file} (${note ?? ''})`],
  );
  return textTable([head, ...rows]);
}

function disksInWords({ disks, leftOut = [] }: Manifest): string {
  return leftOut.length === 0
    ? String(disks.length)
    : `${disks.length} of ${disks.length + leftOut.length}`;
}

function sizeInWords(size: number | undefined): string {
  return size === undefined ? '-' : formatBytes(size);
}

function report({ file, size, manifest, note }: ListedBundle): object {
  if (!manifest) return { file, size: size ?? null, note };
  const { vm, consistency, created, compression, disks, leftOut = [] } = manifest;
  return { file, size, vm, consistency, created, compression, disks: disks.length, leftOut };
}
