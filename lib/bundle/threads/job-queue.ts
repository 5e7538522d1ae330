// Spreads jobs over worker threads.
import type { Job } from './protocol.ts';
import type { WorkerThread } from './worker-thread.ts';

/** Jobs that a thread has at a time: one that runs, and one that it finds at once when that ends. */
const mostJobs = 2;

interface QueuedJob {
  readonly job: Job;
  readonly resolve: (result: Promise<unknown>) => void;
  readonly reject: (error: Error) => void;
}

export class JobQueue {
  readonly #threads: readonly WorkerThread[];
  readonly #queue: QueuedJob[] = [];
  #failure: Error | undefined;

  constructor(threads: readonly WorkerThread[]) {
    this.#threads = threads;
  }

  /** Runs a job on the thread with the least to do. */
  run(job: Job): Promise<unknown> {
    const result = new Promise<unknown>((resolve, reject) => {
      this.#queue.push({ job, resolve, reject });
    });
    result.catch(() => undefined);
    this.#dispatch();
    return result;
  }

  /** Runs a job on the thread of this number, after all jobs that were given to it before, and before those in the queue. */
  runOn(number: number, job: Job): Promise<unknown> {
    const thread = this.#threads[number % this.#threads.length];
    if (!thread) throw new Error('there are no worker threads');
    return this.#watched(thread.run(job));
  }

  /** Makes everything reject that waits, and all that comes. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#queue.splice(0)) reject(error);
  }

  #dispatch(): void {
    if (this.#failure) this.fail(this.#failure);
    while (this.#queue.length > 0) {
      const thread = this.#threads.reduce((a, b) => (b.load < a.load ? b : a));
      if (thread.load >= mostJobs) return;
      const next = this.#queue.shift();
      next?.resolve(this.#watched(thread.run(next.job)));
    }
  }

  #watched(running: Promise<unknown>): Promise<unknown> {
    const ended = () => this.#dispatch();
    running.then(ended, ended);
    return running;
  }
}
