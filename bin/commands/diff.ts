// onevmdump diff: says which regions of which disks differ between two bundles.
import { diffBundles, type DiskDifference } from '../../lib/bundle/read/diff.ts';
import type { OpenedBundle } from '../../lib/bundle/read/opened-bundle.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { withBundleSource } from '../../lib/session/with-bundle.ts';
import { configFor, printResult, type CliCommand } from './command.ts';
import { diffDescription, type DiffOptions } from './diff-options.ts';

export const diffBundlesCommand: CliCommand<DiffOptions> = {
  description: diffDescription,
  run: runDiff,
};

/** More lines for one disk do not help; --json has them all. */
const mostLines = 20;

async function runDiff(options: DiffOptions, { log, signal }: EntrypointContext): Promise<void> {
  const config = await configFor(options, log);
  const withOpened = <T>(text: string, body: (bundle: OpenedBundle) => Promise<T>): Promise<T> =>
    withBundleSource(text, { config, log, signal }, async (source) => {
      const bundle = await openBundle(source, { log, signal });
      return await body(bundle).finally(() => bundle.close());
    });
  const disks = await withOpened(options.bundle, (first) =>
    withOpened(options.other, (second) => diffBundles(first, second)),
  );
  const same = disks.every(isSame);
  await printResult(options, disks.flatMap(lines).join('\n') || 'neither has a disk', {
    same,
    bundle: options.bundle,
    other: options.other,
    disks,
  });
}

/** The same content and the same size. */
function isSame({ in: where, virtualSizes: [one, other], differentRegions }: DiskDifference) {
  return where === 'both' && one === other && differentRegions === 0;
}

function lines(disk: DiskDifference): readonly string[] {
  const { id, in: where, virtualSizes, differentRegions, regions, regionSize, ranges } = disk;
  if (where !== 'both') return [`disk ${id}: only in the ${where} bundle`];
  if (isSame(disk)) return [`disk ${id}: the same`];
  const [one, other] = virtualSizes;
  const sizes =
    one === other ? '' : `; ${one ?? 0} bytes in the first, ${other ?? 0} in the second`;
  const shown = ranges.slice(0, mostLines);
  const more = ranges.length - shown.length;
  return [
    `disk ${id}: ${differentRegions} of ${regions} regions of ${formatBytes(regionSize)} differ${sizes}`,
    ...shown.map(({ offset, length }) => `  ${formatBytes(length)} at byte ${offset}`),
    ...(more > 0 ? [`  and ${more} more ranges (see --json)`] : []),
  ];
}
