// Processes on the machine where the storage is, found by what stands in their command lines.
import { FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';

const stopGraceMs = 3000;
const pollMs = 50;

// -z: arguments end in NUL, proc(5). The argument comes by the environment, or this script would find itself.
const script = `
for file in $(grep -lzF -e "$ONEVMDUMP_ARGUMENT" /proc/[0-9]*/cmdline 2>/dev/null); do
  pid=\${file#/proc/}
  pid=\${pid%/cmdline}
  { read -r name <"/proc/$pid/comm"; } 2>/dev/null || continue
  [ "$name" = "$1" ] || continue
  kill -s "$2" "$pid" 2>/dev/null
  echo "$pid"
done`;

/**
 * Ends every process of that name that has `argument` in its command line; SIGKILL after a grace.
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
    const { stdout } = await runner.run(
      {
        program: 'sh',
        args: ['-c', script, 'sh', program, signal],
        env: { ONEVMDUMP_ARGUMENT: argument },
      },
      { doing: `end ${program}` },
    );
    const found = stdout.toString().trim();
    if (found === '') return;
    if (after > 2 * stopGraceMs) {
      throw new FailedError(
        `${program} (process ${found.replaceAll('\n', ', ')}) does not end on ${runner.where}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
