// qemu-img, with every format declared: nothing is ever probed.
import { CommandError } from '../report/errors.ts';
import type { Command, Runner } from '../run/runner.ts';
import { imageArgument, type BlockNode } from './qemu-nbd.ts';

/** Converts the raw file `source` into the new qcow2 file `target`. Holes stay holes. */
export async function wrapInQcow2(runner: Runner, source: string, target: string): Promise<void> {
  await convertImage(runner, ['raw', source], ['qcow2', target]);
}

/** Converts the image `source` into the new file `target`, each of the given format. Holes stay holes. */
export async function convertImage(
  runner: Runner,
  [sourceFormat, source]: readonly [format: 'raw' | 'qcow2', path: string],
  [targetFormat, target]: readonly [format: 'raw' | 'qcow2', path: string],
): Promise<void> {
  const formats = ['-f', sourceFormat, '-O', targetFormat];
  await runner.run(
    { program: 'qemu-img', args: ['convert', ...formats, source, target] },
    { doing: `convert ${source} to ${targetFormat}`, timeoutMs: 0 },
  );
}

/** The command that prints, as JSON, which parts of an image have data, and which read as zeros. */
export function mapCommand(image: BlockNode): Command {
  return { program: 'qemu-img', args: ['map', '--output=json', imageArgument(image)] };
}

/**
 * Whether another program has a file or a device open for writing, by QEMU's own locks. A reader of a raw file accepts a
 * writer; the option `unshare-child-perms` of blkdebug makes it refuse one. The file's content is not read.
 * @returns undefined when this QEMU cannot tell (before 5.0, or without blkdebug).
 * @throws CommandError when it cannot be opened for another reason.
 */
export async function isOpenForWriting(
  runner: Runner,
  path: string,
  what: string,
  driver: 'file' | 'host_device' = 'file',
): Promise<boolean | undefined> {
  const file = { driver, 'read-only': true, filename: path };
  const exclusive = {
    ...{ driver: 'blkdebug', 'read-only': true, image: file },
    'unshare-child-perms': ['write'],
  };
  const image = `json:${JSON.stringify({ driver: 'raw', 'read-only': true, file: exclusive })}`;
  try {
    await runner.run(
      { program: 'qemu-img', args: ['info', '--output=json', image] },
      { doing: `open ${what}` },
    );
    return false;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    // Only the words after the image's name, and without the path, because a path may contain any of these words.
    const why = error.stderr.slice(error.stderr.lastIndexOf("}':") + 1).replaceAll(path, '');
    // QEMU, block/file-posix.c, raw_check_lock_bytes: Failed to get shared "write" lock.
    if (/Failed to get (?:shared )?"write" lock/.test(why)) return true;
    if (/blkdebug|unshare-child-perms/.test(why)) return undefined;
    throw error;
  }
}

// Nobody else may read what a guest overwrites. Only root can change a file's owner. The folder's owner may replace
// the file with a link at any time, so root creates the file itself and then uses the open file, never its name. A
// shell with -C also opens what is not a regular file, hence the check.
const scratchScript = `
umask 077
set -C
exec 3>"$1"
if [ ! -f /proc/self/fd/3 ]; then echo "$1 is there already" >&2; exit 1; fi
qemu-img create -q -f qcow2 /proc/self/fd/3 "$2" || exit
if [ -n "$3" ] && [ "$(id -u)" = 0 ]; then chown -- "$3" /proc/self/fd/3; fi`;

/**
 * Makes an empty qcow2 file for QEMU to write to.
 * @param path absolute.
 * @param size in bytes; qemu-img rounds it up to whole sectors, as QEMU does for the disk itself.
 * @param owner the user QEMU runs as; ignored unless we are root.
 * @throws CommandError when anything has that name, even a link.
 */
export async function createQcow2Scratch(
  runner: Runner,
  path: string,
  size: number,
  owner: string | undefined,
): Promise<void> {
  await runner.run(
    { program: 'sh', args: ['-c', scratchScript, 'sh', path, String(size), owner ?? ''] },
    { doing: `make the scratch file ${path}` },
  );
}
