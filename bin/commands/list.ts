// onevmdump list: the bundles of a folder, a line each, from their manifests alone.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Manifest } from '../../lib/bundle/manifest.ts';
import { openFileSource } from '../../lib/bundle/file-source.ts';
import { findTrailer, openBundle } from '../../lib/bundle/reader.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { errorMessage, UsageError } from '../../lib/report/errors.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { printResult, type CommandDefinition, type GlobalOptions } from './command.ts';
import { textTable } from './text-table.ts';

interface ListOptions extends GlobalOptions {
  readonly folder: string;
}

interface ListedBundle {
  readonly file: string;
  /** Bytes. */
  readonly size: number;
  /** Absent for a bundle without manifest. */
  readonly manifest?: Manifest;
  /** Why nothing more is known. */
  readonly note?: string;
}

export const listCommand: CommandDefinition<ListOptions> = {
  words: 'list <folder>',
  describe: 'List the bundles in a folder',
  options: (argv) =>
    argv
      .usage('$0 list <folder>')
      .positional('folder', { type: 'string', describe: 'The folder', demandOption: true }),
  run: runList,
};

async function runList(options: ListOptions, context: EntrypointContext): Promise<void> {
  const { folder } = options;
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw new UsageError(`cannot list ${folder}: ${errorMessage(error)}`, { cause: error });
  }
  const bundles: ListedBundle[] = [];
  for (const name of names.filter((one) => /\.(tar(\.gz|\.zst)?|tgz)$/.test(one)).sort()) {
    bundles.push(await look(folder, name, context));
  }
  await printResult(options, plain(folder, bundles), { folder, bundles: bundles.map(report) });
}

/** Never reads a bundle whole: one without an index is only named. */
async function look(
  folder: string,
  file: string,
  { log, signal }: EntrypointContext,
): Promise<ListedBundle> {
  const path = join(folder, file);
  let size = 0;
  try {
    size = (await stat(path)).size;
    const source = await openFileSource(path);
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
    return { file, size, note: errorMessage(error) };
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
          String(manifest.disks.length),
          formatBytes(size),
          file,
        ]
      : ['-', '-', '-', '-', '-', '-', formatBytes(size), `${file} (${note ?? ''})`],
  );
  return textTable([head, ...rows]);
}

function report({ file, size, manifest, note }: ListedBundle): object {
  if (!manifest) return { file, size, note };
  const { vm, consistency, created, compression, disks } = manifest;
  return { file, size, vm, consistency, created, compression, disks: disks.length };
}
