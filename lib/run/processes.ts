// Finds processes on the machine where the storage is by their command lines.
import { FailedError } from '../report/errors.ts';
import type { Runner } from './runner.ts';

const stopGraceMs = 3000;
const pollMs = 50;

// Its arguments are a signal and the names of programs. -z: the words of a command line end in NUL, proc(5). The word to
// look for is passed in the environment, or this script would find itself.
const script = `
signal=$1
shift
for file in $(grep -lzF -e "$ONEVMDUMP_ARGUMENT" /proc/[0-9]*/cmdline 2>/dev/null); do
  pid=\${file#/proc/}
  pid=\${pid%/cmdline}
  { read -r name <"/proc/$pid/comm"; } 2>/dev/null || continue
  case " $* " in *" $name "*) ;; *) continue ;; esac
  [ "$signal" = none ] || kill -s "$signal" "$pid" 2>/dev/null
  echo "$pid"
done`;

/**
 * Ends every process of that name that has `argument` in its command line: SIGTERM, then SIGKILL.
 * @throws FailedError when one does not end.
 */
export async function stopProcesses(
  runner: Runner,
  program: string,
  argument: string,
): Promise<void> {
  const started = Date.now();
  for (;;) {
    const after = Date.now() - started;
    const signal = after < stopGraceMs ? 'TERM' : 'KILL';
    const found = await matching(runner, [program], argument, signal);
    if (found === '') return;
    if (after > 2 * stopGraceMs) {
      throw new FailedError(
        `${program} (process ${found.replaceAll('\n', ', ')}) does not end on ${runner.where}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Whether a process of one of these names has `argument` in its command line. */
export async function isRunningWith(
  runner: Runner,
  programs: readonly string[],
  argument: string,
): Promise<boolean> {
  return (await processesWith(runner, programs, argument)).length > 0;
}

/** The ids of the processes of one of these names that have `argument` in their command lines. */
export async function processesWith(
  runner: Runner,
  programs: readonly string[],
  argument: string,
): Promise<readonly number[]> {
  const found = await matching(runner, programs, argument, 'none');
  return found.split('\n').filter(Boolean).map(Number);
}

/** Sends the signal to all of them, and returns their pids, one per line. */
async function matching(
  runner: Runner,
  programs: readonly string[],
  argument: string,
  signal: 'TERM' | 'KILL' | 'none',
): Promise<string> {
  const { stdout } = await runner.run(
    {
      program: 'sh',
      args: ['-c', script, 'sh', signal, ...programs],
      env: { ONEVMDUMP_ARGUMENT: argument },
    },
    { doing: `${signal === 'none' ? 'look for' : 'end'} ${programs.join(' and ')}` },
  );
  return stdout.toString().trim();
}
