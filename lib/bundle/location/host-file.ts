// The file of a bundle on another machine, by sh and coreutils. Paths may hold anything.
import { UsageError } from '../../report/errors.ts';
import type { Command, PipedService, Runner, Service } from '../../run/runner.ts';

/** A bundle being written: `part` is its file until it is whole, `path` its name then. */
export interface BundleFile {
  readonly part: string;
  readonly path: string;
}

/** Syncing and removing may take as long as a disk needs for gigabytes. */
const longMs = 30 * 60_000;

// Never into what is there already, a link included: set -C. conv=fsync: its end means that all is on
// the disk. Another export that has begun to write the same bundle keeps it; of two that see each other, the first by
// name does, after the other has given way. Its pattern is that of partName in lib/vm/names.ts.
const writeScript = `
umask 077
set -C
other() {
  found=
  for one in "$2".????????????????.part; do
    if [ "$one" != "$1" ] && [ -e "$one" ]; then found=$one; return; fi
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

// As long as there is a part file, a bundle of the same file is not finished.
const removeScript = `
if [ "$1" -ef "$2" ]; then rm -f -- "$2" || exit; fi
rm -f -- "$1"`;

// A process whose parent ends gets another one: proc(5).
const guardScript = `
while read -r pid name state parent rest <"/proc/$$/stat" && [ "$parent" = "$PPID" ]; do sleep 1; done
${removeScript}`;

// A link never replaces a file. Where there are no links, the name is taken first.
const nameScript = `
if ! ln -T -- "$1" "$2" 2>/dev/null; then
  if [ -e "$2" ] || [ -L "$2" ]; then
    echo 'a file of this name has appeared meanwhile' >&2
    exit 1
  fi
  dd conv=excl status=none if=/dev/null of="$2" && mv -fT -- "$1" "$2" || exit
fi
sync -- "$3"`;

const finishScript = `
size=$(stat -c %s -- "$2") || exit
if [ "$size" != "$3" ]; then
  echo "it has $size bytes instead of $3; something else has changed it" >&2
  exit 1
fi
rm -f -- "$1"`;

const kindScript = `
if [ -d "$1" ]; then echo folder; elif [ -e "$1" ] || [ -L "$1" ]; then echo other; else echo nothing; fi`;

// Says size and time, then answers "offset length" with so many bytes. The file is opened once. A FIFO
// would be waited for, so it is looked at before.
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
// Names end with NUL: they may hold everything else.
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

/** What a path is there. */
export async function kindOfPath(
  runner: Runner,
  path: string,
): Promise<'folder' | 'other' | 'nothing'> {
  const { stdout } = await runner.run(script(kindScript, path), { doing: `look at ${path}` });
  const kind = stdout.toString().trim();
  return kind === 'folder' || kind === 'nothing' ? kind : 'other';
}

/** Removes a folder that is empty; one that is not, or is not there, is fine. */
export async function removeEmptyFolder(runner: Runner, path: string): Promise<void> {
  const text = '[ ! -d "$1" ] || rmdir --ignore-fail-on-non-empty -- "$1"';
  await runner.run(script(text, path), { doing: `remove the folder ${path}` });
}

/** The names of all that is in a folder there. @throws UsageError that says why it cannot be read */
export async function namesIn(runner: Runner, path: string): Promise<readonly string[]> {
  const command = script(namesScript, path);
  const { status, stdout } = await runner.run(command, {
    doing: `list ${path}`,
    acceptStatus: [cannotList],
  });
  if (status === cannotList) throw new UsageError(stdout.toString().trim());
  return stdout.toString().split('\0').slice(0, -1);
}

/** Whether files can be made in a folder there. */
export async function canWriteFolder(runner: Runner, path: string): Promise<boolean> {
  const command = script('[ -w "$1" ] && [ -x "$1" ]', path);
  const { status } = await runner.run(command, { doing: `look at ${path}`, acceptStatus: [1] });
  return status === 0;
}

/** Starts writing what comes on stdin into the part file, which must not be there yet. Mode 0600. */
export async function startWriting(
  runner: Runner,
  { part, path }: BundleFile,
): Promise<PipedService> {
  return await runner.startPiped(script(writeScript, part, path));
}

/** Starts what answers requests for bytes of a file; see the script. */
export async function startReading(runner: Runner, path: string): Promise<PipedService> {
  return await runner.startPiped(script(readScript, path));
}

/** Starts a process that removes the unfinished bundle when the connection is lost. */
export async function startBundleGuard(
  runner: Runner,
  { part, path }: BundleFile,
): Promise<Service> {
  return await runner.start({ ...script(guardScript, part, path), endsByItself: true });
}

/** Gives a bundle its name, and flushes that. It keeps its part file, too, where there are links. */
export async function nameBundle(
  runner: Runner,
  { part, path }: BundleFile,
  folder: string,
): Promise<void> {
  const doing = `give the bundle its name ${path}`;
  await runner.run(script(nameScript, part, path, folder), { doing, timeoutMs: longMs });
}

/**
 * Makes the bundle one that stays, if it has so many bytes. May be repeated. Once begun it is done, whoever
 * interrupts: half done, nobody would know whether the bundle stays.
 */
export async function finishBundle(
  runner: Runner,
  { part, path }: BundleFile,
  size: number,
): Promise<void> {
  const command = script(finishScript, part, path, String(size));
  await runner.run(command, { doing: `finish the bundle ${path}`, uninterrupted: true });
}

/** Removes a bundle that is not finished; none is fine, and a finished one is left alone. */
export async function removeUnfinished(runner: Runner, { part, path }: BundleFile): Promise<void> {
  const doing = `remove ${part}`;
  await runner.run(script(removeScript, part, path), { doing, timeoutMs: longMs });
}
