// The file of a bundle on another machine, handled with sh and coreutils. Paths may contain any character.
import { UsageError } from '../../report/errors.ts';
import type { Command, PipedService, Runner, Service } from '../../run/runner.ts';

/** A bundle that is being written: `part` is its file until it is complete, `path` its final name. */
export interface BundleFile {
  readonly part: string;
  readonly path: string;
}

/** Syncing and removing gigabytes may take this long. */
const longMs = 30 * 60_000;

// set -C: never writes to an existing file or through a link. conv=fsync: when dd has ended, all data is on storage. The script
// gives way to another export of the same bundle, by the rule of requireAlone in file-sink.ts. The pattern of part files
// is that of partName in lib/vm/names.ts.
const writeScript = `
umask 077
set -C
other() {
  found=
  for part in "$2".????????????????.part; do
    if [ "$part" != "$1" ] && [ -e "$part" ]; then found=$part; return; fi
  done
  return 1
}
exec 3>"$1"
if other "$@"; then
  if LC_ALL=C expr "x$found" '>' "x$1" >/dev/null; then sleep 1; fi
  if other "$@"; then
    rm -f -- "$1"
    printf '%s exists: another export may be writing it\\n' "$found" >&2
    exit 1
  fi
fi
exec dd bs=1M conv=fsync status=none >&3`;

// While the part file exists, a bundle that is the same file is not finished.
const removeScript = `
if [ "$1" -ef "$2" ]; then rm -f -- "$2" || exit; fi
rm -f -- "$1"`;

// When the parent of a process ends, the process gets another parent (proc(5)).
const watchdogScript = `
while read -r pid name state parent rest <"/proc/$$/stat" && [ "$parent" = "$PPID" ]; do sleep 1; done
${removeScript}`;

// ln never replaces a file. Without hard links, the name is reserved with an empty file first.
const nameScript = `
if ! ln -T -- "$1" "$2" 2>/dev/null; then
  if [ -e "$2" ] || [ -L "$2" ]; then
    echo 'a file of this name has appeared in the meantime' >&2
    exit 1
  fi
  dd conv=excl status=none if=/dev/null of="$2" && mv -fT -- "$1" "$2" || exit
fi
sync -- "$3"`;

const finishScript = `
size=$(stat -c %s -- "$2") || exit
if [ "$size" != "$3" ]; then
  echo "it has $size bytes instead of $3; another program has changed it" >&2
  exit 1
fi
rm -f -- "$1"`;

const kindScript = `
if [ -d "$1" ]; then echo folder; elif [ -e "$1" ] || [ -L "$1" ]; then echo other; else echo nothing; fi`;

// Prints size and time, then answers each line "offset length" with that many bytes. The file is opened only once. Its type is
// checked before, because opening a FIFO would wait for a writer.
const readScript = `
if [ ! -f "$1" ]; then
  if [ -e "$1" ]; then echo 'it is not a regular file' >&2; else echo 'no such file' >&2; fi
  exit 1
fi
exec 4<"$1" || exit
stat -L -c '%s %Y' /proc/self/fd/4 || exit
while read -r offset length; do
  dd bs=1M iflag=skip_bytes,count_bytes,fullblock skip="$offset" count="$length" status=none <"/proc/self/fd/4" || exit
done`;

const cannotList = 3;
// Each name ends with NUL, because names may contain every other character.
const namesScript = `
if [ ! -d "$1" ]; then
  if [ -e "$1" ]; then echo 'it is not a folder'; else echo 'no such folder'; fi
  exit ${cannotList}
fi
cd -- "$1" 2>/dev/null && [ -r . ] || { echo 'permission denied'; exit ${cannotList}; }
for name in * .[!.]* ..?*; do
  if [ -e "$name" ] || [ -L "$name" ]; then printf '%s\\0' "$name"; fi
done`;

function script(text: string, ...args: readonly string[]): Command {
  return { program: 'sh', args: ['-c', text, 'sh', ...args] };
}

/** What a path is on the machine of `runner`. @throws CommandError, ConnectionError */
export async function kindOfPath(
  runner: Runner,
  path: string,
): Promise<'folder' | 'other' | 'nothing'> {
  const { stdout } = await runner.run(script(kindScript, path), { doing: `look at ${path}` });
  const kind = stdout.toString().trim();
  return kind === 'folder' || kind === 'nothing' ? kind : 'other';
}

/** Removes a folder if it exists and is empty. @throws CommandError, ConnectionError */
export async function removeEmptyFolder(runner: Runner, path: string): Promise<void> {
  const text = '[ ! -d "$1" ] || rmdir --ignore-fail-on-non-empty -- "$1"';
  await runner.run(script(text, path), { doing: `remove the folder ${path}` });
}

/** The names of all files in a folder. @throws UsageError that says why it cannot be read */
export async function namesIn(runner: Runner, path: string): Promise<readonly string[]> {
  const command = script(namesScript, path);
  const { status, stdout } = await runner.run(command, {
    doing: `list ${path}`,
    acceptStatus: [cannotList],
  });
  if (status === cannotList) throw new UsageError(stdout.toString().trim());
  return stdout.toString().split('\0').slice(0, -1);
}

/** Whether files can be made in a folder. */
export async function canWriteFolder(runner: Runner, path: string): Promise<boolean> {
  const command = script('[ -w "$1" ] && [ -x "$1" ]', path);
  const { status } = await runner.run(command, { doing: `look at ${path}`, acceptStatus: [1] });
  return status === 0;
}

/** Starts a program that writes its stdin into the part file, mode 0600. The file must not exist. */
export async function startWriting(
  runner: Runner,
  { part, path }: BundleFile,
): Promise<PipedService> {
  return await runner.startPiped(script(writeScript, part, path));
}

/** Starts a program that answers requests for bytes of a file; see `readScript`. */
export async function startReading(runner: Runner, path: string): Promise<PipedService> {
  return await runner.startPiped(script(readScript, path));
}

/** Starts a process that removes the unfinished bundle when the connection is lost. */
export async function startBundleWatchdog(
  runner: Runner,
  { part, path }: BundleFile,
): Promise<Service> {
  return await runner.start({ ...script(watchdogScript, part, path), endsByItself: true });
}

/** Gives a bundle its name and syncs it to storage. With hard links, it also keeps the name of its part file. */
export async function nameBundle(
  runner: Runner,
  { part, path }: BundleFile,
  folder: string,
): Promise<void> {
  const doing = `give the bundle its name ${path}`;
  await runner.run(script(nameScript, part, path, folder), { doing, timeoutMs: longMs });
}

/**
 * Finishes the bundle: checks its size and removes the part file, after which the bundle is kept. May be repeated. It is not
 * interrupted, because after an interruption nobody would know whether the bundle is kept.
 * @param size bytes that the bundle must have
 * @throws CommandError, ConnectionError
 */
export async function finishBundle(
  runner: Runner,
  { part, path }: BundleFile,
  size: number,
): Promise<void> {
  const command = script(finishScript, part, path, String(size));
  await runner.run(command, { doing: `finish the bundle ${path}`, uninterrupted: true });
}

/** Removes an unfinished bundle, if there is one. A finished one is left alone. */
export async function removeUnfinished(runner: Runner, { part, path }: BundleFile): Promise<void> {
  const doing = `remove ${part}`;
  await runner.run(script(removeScript, part, path), { doing, timeoutMs: longMs });
}
