// Runs a command and measures it: wall time, CPU seconds of it and all its descendants, and the peak
// memory of the whole process tree, files in /dev/shm included.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, statfs } from 'node:fs/promises';

export interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMiB: number;
}

/** Often enough to see a peak that lasts, and seldom enough to leave the CPUs to the command. */
const sampleMs = 200;

/** Runs one line of shell; `env` is added to our environment. @throws Error when it fails */
export async function measure(line: string, env: NodeJS.ProcessEnv = {}): Promise<Measured> {
  const shmBefore = await shmMiB();
  const started = performance.now();
  // bash's `times` prints user and system time of its children that have been waited for.
  const child = spawn('bash', ['-c', `${line}\nstatus=$?\ntimes >&2\nexit $status`], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  let peakMiB = 0;
  const pid = child.pid ?? 0;
  const sampler = setInterval(() => {
    void Promise.all([treeMiB(pid), shmMiB()]).then(([tree, shm]) => {
      peakMiB = Math.max(peakMiB, tree + Math.max(0, shm - shmBefore));
    });
  }, sampleMs);
  const [code] = (await once(child, 'close')) as [number | null];
  clearInterval(sampler);
  const seconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Error(`${line}\nended with ${code ?? 'a signal'}:\n${stderr}`);
  return { seconds, cpuSeconds: cpuOf(stderr), peakMiB };
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

/** Resident memory (proportional, so shared pages count once) of a process and its descendants. */
async function treeMiB(root: number): Promise<number> {
  const children = new Map<number, number[]>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  let total = 0;
  const tree = [root];
  for (const pid of tree) {
    tree.push(...(children.get(pid) ?? []));
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    total += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024;
  }
  return total;
}

async function shmMiB(): Promise<number> {
  const { blocks, bfree, bsize } = await statfs('/dev/shm');
  return ((blocks - bfree) * bsize) / 1024 / 1024;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
