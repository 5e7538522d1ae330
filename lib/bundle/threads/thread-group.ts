// A number of worker threads that are started, fail and end together.
import { availableParallelism } from 'node:os';
import { FailedError } from '../../report/errors.ts';
import type { FrameSlot } from './frame-slot.ts';
import { JobQueue } from './job-queue.ts';
import type { Job, WorkerReport, WorkerSetup } from './protocol.ts';
import { WorkerThread } from './worker-thread.ts';

/** More are of no use: eight compress faster than any storage reads. Each costs about 15 MB. */
const mostThreads = 8;

export class ThreadGroup {
  readonly #threads: readonly WorkerThread[];
  readonly #queue: JobQueue;
  readonly #signal: AbortSignal | undefined;
  #onFailure: (error: Error) => void = () => undefined;
  #failure: Error | undefined;

  /** @param threads how many; default: as many as there are processors @param signal makes every call reject */
  constructor(setup: WorkerSetup, threads = availableParallelism(), signal?: AbortSignal) {
    const count = Math.max(1, Math.min(threads, mostThreads));
    this.#threads = Array.from(
      { length: count },
      () => new WorkerThread(setup, (error) => this.fail(error)),
    );
    this.#queue = new JobQueue(this.#threads);
    this.#signal = signal;
    if (signal?.aborted) this.#aborted();
    else signal?.addEventListener('abort', this.#aborted);
  }

  get size(): number {
    return this.#threads.length;
  }

  /** What the threads have chosen: all the same. @throws UsageError or FailedError when they cannot work */
  async ready(): Promise<WorkerReport> {
    const [report] = await Promise.all(this.#threads.map((thread) => thread.ready));
    if (!report) throw new FailedError('no worker thread was started');
    return report;
  }

  /** Calls `listener` when the threads can do nothing any more. */
  onFailure(listener: (error: Error) => void): void {
    this.#onFailure = listener;
    if (this.#failure) listener(this.#failure);
  }

  addSlot({ number, memory }: FrameSlot): void {
    for (const thread of this.#threads) thread.addSlot(number, memory);
  }

  /** Runs a job on any thread. */
  run(job: Job): Promise<unknown> {
    return this.#queue.run(job);
  }

  /** Runs a job on one thread, in the order of the calls. */
  runOn(thread: number, job: Job): Promise<unknown> {
    return this.#queue.runOn(thread, job);
  }

  /** Ends all threads; what still waits rejects. Never rejects; may be called twice. */
  async close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#aborted);
    this.fail(new FailedError('the worker threads have been ended'));
    await this.#ended();
  }

  readonly #aborted = (): void => {
    this.fail(this.#signal?.reason as Error);
  };

  /** One failure is the failure of all: everything rejects, and the threads end. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#queue.fail(error);
    this.#onFailure(error);
    void this.#ended();
  }

  async #ended(): Promise<void> {
    const reason = this.#failure ?? new FailedError('the worker threads have been ended');
    await Promise.allSettled(this.#threads.map((thread) => thread.close(reason)));
  }
}
