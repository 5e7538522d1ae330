// onevmdump verify: reads all of a bundle and checks it.
import { verifyBundle, type VerifyReport } from '../../lib/bundle/read/verify.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { requireWholeDisks } from '../../lib/restore/restorable.ts';
import { withBundleSource } from '../../lib/session/with-bundle.ts';
import { configFor, printResult, withProgress, type CliCommand } from './command.ts';
import { verifyDescription, type VerifyOptions } from './verify-options.ts';

export const verifyCommand: CliCommand<VerifyOptions> = {
  description: verifyDescription,
  run: runVerify,
};

async function runVerify(
  options: VerifyOptions,
  { log, signal }: EntrypointContext,
): Promise<void> {
  const config = await configFor(options, log);
  const report = await withBundleSource(options.bundle, { config, log, signal }, (source) =>
    withProgress(log, (progress) =>
      verifyBundle(source, { log, signal, progress, restorable: requireWholeDisks }),
    ),
  );
  await printResult(options, `${report.bundle}: OK: ${verdict(report)}`, {
    sound: true,
    ...report,
  });
}

/** What was checked, and how much of it. */
function verdict({ indexed, frames, disks, leftOut }: VerifyReport): string {
  const data = formatBytes(disks.reduce((sum, { dataBytes }) => sum + dataBytes, 0));
  const size = [
    `${disks.length === 1 ? '1 disk' : `${disks.length} disks`}${leftOut.length === 0 ? '' : ` without disk ${leftOut.join(', ')}`}`,
    `${data} of data`,
  ].join(', ');
  if (indexed) return `all checksums match (${size}, ${frames} frames)`;
  return disks.every(({ checksum }) => checksum !== undefined)
    ? `the checksum of every disk matches; the bundle has no index (${size})`
    : `every compressed block and every member is intact; the bundle has no checksums of its own (${size})`;
}
