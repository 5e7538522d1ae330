// The memory of a process and all its descendants, sampled in such a way that short peaks are not missed.
//
// The kernel keeps the peak of each process (VmHWM) and sets it back to the present size when 5 is written to clear_refs,
// proc(5). So each sample has the peak of every process since the sample before, and their sum is at least what the tree
// had at any time between the two. Pages that processes share count once: each process has what it shares with others
// subtracted (smaps_rollup: Rss - Pss), which is looked up once a second, since the kernel walks all pages for it.
// A control group's memory.peak would not do: it also counts the cache of the files that are read and written.
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';

const KiB = 1024;
/** What the kernel is asked in each sample, about 0.1 ms for a process. */
const sampleMs = 50;
/** Open files in /dev/shm change slowly; 200 ms. */
const filesEvery = 4;
/** What is shared changes slowly, and asking takes 4 ms for 200 MB; 1 s. */
const sharedEvery = 20;

interface Seen {
  /** Samples since it was first seen. */
  age: number;
  /** Bytes that others have as well, so that they are not counted here. */
  shared: number;
}

export class TreeMemory {
  readonly #root: number;
  readonly #timer: NodeJS.Timeout;
  #seen = new Map<number, Seen>();
  #samples = 0;
  #files = 0;
  #peak = 0;

  /** Samples the process with this id and its descendants until `stop`. */
  constructor(root: number) {
    this.#root = root;
    this.#timer = setInterval(() => this.#sample(), sampleMs);
  }

  /** @returns the peak in bytes: memory, and open files in /dev/shm */
  stop(): number {
    clearInterval(this.#timer);
    return this.#peak;
  }

  #sample(): void {
    const before = this.#seen;
    this.#seen = new Map();
    const tree = descendants(this.#root);
    if (this.#samples++ % filesEvery === 0) this.#files = filesInMemory([...tree.keys()]);
    let total = this.#files;
    for (const [pid, parent] of tree) {
      const seen = before.get(pid) ?? { age: -1, shared: 0 };
      this.#seen.set(pid, { ...seen, age: seen.age + 1 });
      total += this.#memoryOf(pid, parent);
    }
    this.#peak = Math.max(this.#peak, total);
  }

  /** The peak of a process since the last sample, less what it shares. */
  #memoryOf(pid: number, parent: number): number {
    const seen = this.#seen.get(pid);
    // Between fork and exec, all that a process has is its parent's.
    if (!seen || (seen.age === 0 && commandOf(pid) === commandOf(parent))) return 0;
    const peak = kib(/^VmHWM:\s+(\d+)/m, read(pid, 'status'));
    resetPeak(pid);
    if (seen.age % sharedEvery === 1) {
      const rollup = read(pid, 'smaps_rollup');
      seen.shared = kib(/^Rss:\s+(\d+)/m, rollup) - kib(/^Pss:\s+(\d+)/m, rollup);
    }
    return Math.max(0, peak - seen.shared);
  }
}

/** A process and its descendants: id and the parent's id. */
function descendants(root: number): Map<number, number> {
  const tree = new Map([[root, 0]]);
  for (const pid of tree.keys()) {
    for (const thread of list(`/proc/${pid}/task`)) {
      for (const child of read(pid, `task/${thread}/children`).split(' ')) {
        if (child !== '') tree.set(Number(child), pid);
      }
    }
  }
  return tree;
}

/** Bytes of the files in /dev/shm that these processes have open, each counted once. They have no name as a rule. */
function filesInMemory(pids: readonly number[]): number {
  const files = new Map<number, number>();
  for (const pid of pids) {
    for (const fd of list(`/proc/${pid}/fd`)) {
      const path = `/proc/${pid}/fd/${fd}`;
      try {
        if (!readlinkSync(path).startsWith('/dev/shm/')) continue;
        const { ino, blocks } = statSync(path);
        files.set(ino, blocks * 512);
      } catch {
        // Closed meanwhile.
      }
    }
  }
  return [...files.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function commandOf(pid: number): string {
  return read(pid, 'cmdline');
}

/** Empty when the process has ended. */
function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function resetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // It has ended, or runs as another user: then its peak is that of its whole life, which is not too little.
  }
}

function kib(pattern: RegExp, text: string): number {
  return Number(pattern.exec(text)?.[1] ?? 0) * KiB;
}
