// Reads how much has been written to a block device, as the kernel of its machine counts it.
// https://docs.kernel.org/block/stat.html
import type { Runner } from '../run/runner.ts';
import { deviceNumbers } from './block-device.ts';

/**
 * Columns, counted from 0: writes, sectors written, discards, sectors discarded. The last two exist since Linux 4.18.
 */
const counters = [4, 6, 11, 13];

/**
 * Returns counters of what was written to a device through this kernel since the device was made: if two calls return
 * the same text, nothing was written between them. They do not include what another machine writes to the same
 * storage. Empty if the kernel does not count.
 * @param path of the device, or of a link to it
 * @throws CommandError when it is not there
 */
export async function writesTo(runner: Runner, path: string): Promise<string> {
  const doing = `see what has been written to ${path}`;
  const file = `/sys/dev/block/${await deviceNumbers(runner, path, doing)}/stat`;
  const { stdout } = await runner.run(
    { program: 'cat', args: ['--', file] },
    { doing, acceptStatus: [1] },
  );
  const words = stdout.toString().trim().split(/\s+/);
  return counters
    .map((at) => words[at] ?? '')
    .join(' ')
    .trim();
}
