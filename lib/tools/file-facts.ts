// Reads facts about files on the machine where the storage is, and writes small new files, with GNU coreutils. Paths
// may contain any character.
import { FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';
import { unexpectedOutput } from '../run/unexpected-output.ts';

/** Resolves links and dots in a path. @throws CommandError naming `what` when there is no such file. */
export async function realPath(runner: Runner, path: string, what: string): Promise<string> {
  const { stdout } = await runner.run(
    { program: 'realpath', args: ['-e', '-z', '--', path] },
    { doing: `find ${what}` },
  );
  return stdout.toString().replace(/\0$/, '');
}

/** The same for several paths. Those that do not exist or cannot be reached are left out. */
export async function realPaths(runner: Runner, paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const { stdout } = await runner.run(
    { program: 'realpath', args: ['-q', '-e', '-z', '--', ...paths] },
    { doing: `resolve ${paths.join(', ')}`, acceptStatus: [1] },
  );
  return stdout.toString().split('\0').slice(0, -1);
}

/**
 * Returns the size of a regular file in bytes.
 * @throws CommandError when it is missing; FailedError when it is not a regular file.
 */
export async function regularFileSize(runner: Runner, path: string, what: string): Promise<number> {
  const { stdout } = await runner.run(
    { program: 'stat', args: ['-L', '--printf=%f %s', '--', path] },
    { doing: `look at ${what}` },
  );
  const [, mode = '', size = ''] = /^([0-9a-f]+) ([0-9]+)$/.exec(stdout.toString()) ?? [];
  if (!Number.isSafeInteger(Number.parseInt(size, 10))) {
    throw unexpectedOutput('stat', `look at ${what}`, { stdout });
  }
  // S_IFMT and S_IFREG, inode(7).
  if ((Number.parseInt(mode, 16) & 0o170000) !== 0o100000) {
    throw new FailedError(`cannot read ${what}: it is not a regular file`);
  }
  return Number.parseInt(size, 10);
}

/** Returns the first bytes of a file, fewer if it is shorter. @throws CommandError when it cannot be read. */
export async function fileHead(
  runner: Runner,
  path: string,
  bytes: number,
  what: string,
): Promise<Buffer> {
  const { stdout } = await runner.run(
    { program: 'head', args: ['-c', String(bytes), '--', path] },
    { doing: `read ${what}`, maxOutput: bytes },
  );
  return stdout;
}

/** Returns the bytes that a folder's file system has free for users other than root. @throws CommandError */
export async function freeBytes(runner: Runner, folder: string): Promise<number> {
  const doing = `ask how much is free in ${folder}`;
  const args = ['-f', '--printf=%a %S', '--', folder];
  const { stdout } = await runner.run({ program: 'stat', args }, { doing });
  const [, blocks, size] = /^([0-9]+) ([0-9]+)$/.exec(stdout.toString()) ?? [];
  const bytes = Number(blocks) * Number(size);
  if (!Number.isFinite(bytes)) {
    throw unexpectedOutput('stat', doing, { stdout });
  }
  return bytes;
}

// Opening a file makes NFS ask its server for changes: nfs(5), close-to-open.
const stampsScript = `
for file; do : <"$file" || exit; done
exec stat -L --printf='%i %s %.9Y\\0' -- "$@"`;

/**
 * Returns inode, size and time of the last write of each file. The text changes when a file is written to or replaced.
 * @throws CommandError when one cannot be opened.
 */
export async function fileStamps(
  runner: Runner,
  paths: readonly string[],
  what: string,
): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await runner.run(
    { program: 'sh', args: ['-c', stampsScript, 'sh', ...paths] },
    { doing: `look at ${what}` },
  );
  const stamps = stdout.toString().split('\0');
  return Object.fromEntries(paths.map((path, at) => [path, stamps[at] ?? '']));
}

/** A part of a file, in bytes. */
export interface FileRange {
  readonly offset: number;
  readonly length: number;
}

// Its arguments are the file, then offset and length of each range.
const rangesScript = `
file=$1
shift
while [ $# -gt 1 ]; do
  dd if="$file" bs=64K iflag=skip_bytes,count_bytes,fullblock skip="$1" count="$2" status=none || exit
  shift 2
done`;

/**
 * Reads parts of a file with one command.
 * @returns their bytes, in the order of `ranges`.
 * @throws CommandError when it cannot be read, FailedError when the file ends before them.
 */
export async function fileRanges(
  runner: Runner,
  path: string,
  ranges: readonly FileRange[],
  what: string,
): Promise<readonly Buffer[]> {
  const wanted = ranges.filter(({ length }) => length > 0);
  const total = wanted.reduce((sum, { length }) => sum + length, 0);
  const numbers = wanted.flatMap(({ offset, length }) => [String(offset), String(length)]);
  const doing = `read the tables of ${what}`;
  const { stdout } =
    total === 0
      ? { stdout: Buffer.alloc(0) }
      : await runner.run(
          { program: 'sh', args: ['-c', rangesScript, 'sh', path, ...numbers] },
          { doing, maxOutput: total },
        );
  if (stdout.length !== total)
    throw new FailedError(`cannot ${doing}: the file has become shorter`);
  let at = 0;
  return ranges.map(({ length }) => stdout.subarray(at, (at += length)));
}

/**
 * Writes a small new file that only its owner can read. Never follows a link, and replaces nothing: O_EXCL.
 * @throws CommandError when anything has that name, even a link.
 */
export async function writeNewFile(runner: Runner, path: string, text: string): Promise<void> {
  const script = 'umask 077; exec dd conv=excl status=none of="$1"';
  await runner.run(
    { program: 'sh', args: ['-c', script, 'sh', path] },
    { doing: `write ${path}`, input: text },
  );
}
