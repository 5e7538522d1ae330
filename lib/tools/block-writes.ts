// How much has been written to a block device, as the kernel of its machine counts it.
// https://docs.kernel.org/block/stat.html
import { posix } from 'node:path';
import type { Runner } from '../run/runner.ts';
import { realPaths } from './file-facts.ts';

/** Writes, sectors written, discards, sectors discarded; counted from 0. The latter two are of Linux 4.18. */
const counters = [4, 6, 11, 13];

/**
 * What has been written to a device through this kernel since the device was made: the same text twice means nothing was
 * in between. What another machine writes to the same storage is not in it. Empty where the kernel does not say.
 * @param path of the device, or of a link to it
 */
export async function writesTo(runner: Runner, path: string): Promise<string> {
  const [device] = await realPaths(runner, [path]);
  if (device === undefined) return '';
  const { stdout } = await runner.run(
    { program: 'cat', args: ['--', `/sys/class/block/${posix.basename(device)}/stat`] },
    { doing: `see what has been written to ${path}`, acceptStatus: [1] },
  );
  const words = stdout.toString().trim().split(/\s+/);
  return counters
    .map((at) => words[at] ?? '')
    .join(' ')
    .trim();
}
