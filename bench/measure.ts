// Runs a command and measures it: wall time, CPU seconds of it and all its descendants, and the peak memory of the whole
// process tree.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { TreeMemory } from './tree-memory.ts';

export interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** In 1,000,000 bytes; 0 when it ended before it could be sampled. */
  readonly peakMB: number;
}

/**
 * Runs one line of bash; `env` is added to our environment.
 * CPU seconds are those of all processes that were waited for: not those of servers that run anyway.
 * @throws Error with its stderr when it fails
 */
export async function measure(line: string, env: NodeJS.ProcessEnv = {}): Promise<Measured> {
  const started = performance.now();
  // bash's `times` prints user and system time of its children that have been waited for.
  const child = spawn(
    'bash',
    ['-o', 'pipefail', '-c', `${line}\nstatus=$?\ntimes >&2\nexit $status`],
    {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  if (child.pid === undefined) throw new Error('bash cannot be started');
  const memory = new TreeMemory(child.pid);
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  const seconds = (performance.now() - started) / 1000;
  const peakMB = memory.stop() / 1e6;
  if (code !== 0) throw new Error(`${line}\nended with ${code ?? 'a signal'}:\n${stderr}`);
  return { seconds, cpuSeconds: cpuOf(stderr), peakMB };
}

/** The last line of `times`: `0m1.234s 0m0.056s`, the children's user and system time. */
function cpuOf(stderr: string): number {
  const last = stderr.trim().split('\n').at(-1) ?? '';
  const parts = [...last.matchAll(/(\d+)m([\d.]+)s/g)];
  return parts.reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
}
