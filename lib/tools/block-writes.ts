// How much has been written to a block device, as the kernel of its machine counts it.
// https://docs.kernel.org/block/stat.html
import type { Runner } from '../run/runner.ts';

/** Writes, sectors written, discards, sectors discarded; counted from 0. The latter two are of Linux 4.18. */
const counters = [4, 6, 11, 13];

/**
 * What has been written to a device through this kernel since the device was made: the same text twice means nothing was
 * in between. What another machine writes to the same storage is not in it. Empty where the kernel does not say.
 * @param path of the device, or of a link to it
 * @throws CommandError when it is not there
 */
export async function writesTo(runner: Runner, path: string): Promise<string> {
  const doing = `see what has been written to ${path}`;
  // Its numbers, as without udev its name is not the kernel's.
  const { stdout: numbers } = await runner.run(
    { program: 'stat', args: ['-L', '--printf=%t %T', '--', path] },
    { doing },
  );
  const [major, minor] = numbers.toString().split(' ');
  const file = `/sys/dev/block/${fromHex(major)}:${fromHex(minor)}/stat`;
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

function fromHex(text = ''): number {
  return Number.parseInt(text, 16);
}
