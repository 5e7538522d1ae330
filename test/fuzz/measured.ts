// The built command as a child process, with what it takes of memory and time.
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runToEnd, type Ended } from '../support/shell.ts';

const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;

export interface Measured extends Ended {
  /** The most memory that any of its processes had, in MiB. */
  readonly rssMib: number;
  /** CPU seconds of all its processes; a busy machine does not change them much. */
  readonly cpuSeconds: number;
}

const script = `
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], 'w').write(f'{used.ru_maxrss} {used.ru_utime + used.ru_stime}')
sys.exit(code)
`;

let count = 0;

/** Runs `onevmdump` to its end. */
export async function measured(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Measured> {
  const facts = join(tmpdir(), `onevmdump-measured-${process.pid}-${(count += 1)}`);
  const ended = await runToEnd('python3', ['-c', script, facts, onevmdump, ...args], { env });
  const [kib = NaN, cpuSeconds = NaN] = (await readFile(facts, 'utf8')).split(' ').map(Number);
  await rm(facts);
  return { ...ended, rssMib: kib / 1024, cpuSeconds };
}
