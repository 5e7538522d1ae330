// onevmdump list: shows the bundles in a folder, one line each, and reads only their manifests.
import { endsLikeBundle } from '../../lib/bundle/format/bundle-name.ts';
import type { Manifest } from '../../lib/bundle/format/manifest.ts';
import { readManifestOnly } from '../../lib/bundle/read/reader.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { ConnectionError, errorMessage } from '../../lib/report/errors.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { withBundleFolder, type BundleFolder } from '../../lib/session/with-bundle.ts';
import { configFor, printResult, type CliCommand } from './command.ts';
import { listDescription, type ListOptions } from './list-options.ts';
import { textTable } from './text-table.ts';

type ListedFacts = Pick<Manifest, 'vm' | 'consistency' | 'created' | 'compression'> & {
  /** Number of disks in the bundle. */
  readonly disks: number;
  /** DISK_IDs of the VM's disks that are not in the bundle. */
  readonly leftOut: readonly number[];
};

interface ListedBundle {
  readonly file: string;
  /** Bytes; absent when it cannot be opened. */
  readonly size?: number;
  /** Absent for a bundle without manifest. */
  readonly facts?: ListedFacts;
  /** Why nothing more is known. */
  readonly note?: string;
}

export const listCommand: CliCommand<ListOptions> = {
  description: listDescription,
  run: runList,
};

async function runList(options: ListOptions, context: EntrypointContext): Promise<void> {
  const { folder } = options;
  const { log, signal } = context;
  const config = await configFor(options, log);
  const bundles = await withBundleFolder(folder, { config, log, signal }, async (there) => {
    const found: ListedBundle[] = [];
    for (const name of there.names.filter(endsLikeBundle).sort()) {
      found.push(await look(there, name, context));
    }
    return found;
  });
  await printResult(options, plain(folder, bundles), { folder, bundles: bundles.map(report) });
}

/**
 * Reads only the manifest and keeps a few facts: a folder may have thousands of bundles, and files that anybody has
 * put there.
 */
async function look(
  folder: BundleFolder,
  file: string,
  { log, signal }: EntrypointContext,
): Promise<ListedBundle> {
  let size: number | undefined;
  try {
    const source = await folder.open(file);
    try {
      size = source.size;
      // Warnings about facts that a list does not show are for --debug.
      const quiet = { ...log, warn: (text: string) => log.debug(`${file}: ${text}`) };
      const manifest = await readManifestOnly(source, { log: quiet, signal });
      if (!manifest) return { file, size, note: 'no index: see onevmdump show' };
      const { vm, consistency, created, compression, disks, leftOut = [] } = manifest;
      const facts = { vm, consistency, created, compression, disks: disks.length, leftOut };
      return { file, size, facts };
    } finally {
      await source.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    // Without a connection, no other bundle can be opened either.
    if (error instanceof ConnectionError) throw error;
    return { file, ...(size === undefined ? {} : { size }), note: errorMessage(error) };
  }
}

function plain(folder: string, bundles: readonly ListedBundle[]): string {
  if (bundles.length === 0) return `no bundles in ${folder}`;
  const head = ['VM', 'NAME', 'STATE', 'CONSISTENCY', 'EXPORTED', 'DISKS', 'SIZE', 'FILE'];
  const rows = bundles.map(({ file, size, facts, note }) =>
    facts
      ? [
          String(facts.vm.id),
          facts.vm.name,
          facts.vm.state,
          facts.consistency.level,
          facts.created.slice(0, 19),
          disksInWords(facts),
          sizeInWords(size),
          file,
        ]
      : ['-', '-', '-', '-', '-', '-', sizeInWords(size), `${file} (${note ?? ''})`],
  );
  return textTable([head, ...rows]);
}

function disksInWords({ disks, leftOut }: ListedFacts): string {
  return leftOut.length === 0 ? String(disks) : `${disks} of ${disks + leftOut.length}`;
}

function sizeInWords(size: number | undefined): string {
  return size === undefined ? '-' : formatBytes(size);
}

function report({ file, size, facts, note }: ListedBundle): object {
  if (!facts) return { file, size: size ?? null, note };
  return { file, size, ...facts };
}
