// onevmdump verify: reads all of a bundle and says whether it can be restored.
import { verifyBundle, type VerifyReport } from '../../lib/bundle/read/verify.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { requireRestorable } from '../../lib/restore/restorable.ts';
import { withBundleSource } from '../../lib/session/with-bundle.ts';
import { configFor, printResult, withProgress, type Command } from './command.ts';
import { verifyDescription, type VerifyOptions } from './verify-options.ts';

export const verifyCommand: Command<VerifyOptions> = {
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
      verifyBundle(source, { log, signal, progress, restorable: requireRestorable }),
    ),
  );
  const data = formatBytes(report.disks.reduce((sum, { dataBytes }) => sum + dataBytes, 0));
  const left = report.leftOut.length === 0 ? '' : `, without disk ${report.leftOut.join(', ')}`;
  await printResult(
    options,
    `${report.bundle}: sound (${report.disks.length} disks${left}, ${data} of data, ${checked(report)})`,
    { sound: true, ...report },
  );
}

/** What the verdict rests on. */
function checked({ indexed, frames, disks }: VerifyReport): string {
  if (indexed) return `${frames} frames, all checksums match`;
  return disks.every(({ sha256 }) => sha256 !== undefined)
    ? 'no index, but the checksum of every disk matches'
    : 'no checksums of its own, but every compressed block and every member is sound';
}
