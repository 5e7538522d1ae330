// One worker thread, seen from the main thread: gives it jobs and waits for their answers.
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { CommandError, FailedError, UsageError } from '../../report/errors.ts';
import { FrameDamage } from './frame-engine.ts';
import type {
  FromWorker,
  Job,
  SlotMemory,
  ToWorker,
  WorkerReport,
  WorkerSetup,
} from './protocol.ts';
import { workerCode } from './worker-code.ts';

/** How long a killed program may take to end, in milliseconds. */
const mostProgramMs = 5000;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface StartWaiting {
  readonly resolve: (report: WorkerReport) => void;
  readonly reject: (error: unknown) => void;
}

export class WorkerThread {
  /** Resolves when the worker has chosen its engines. @throws UsageError or FailedError when it has none */
  readonly ready: Promise<WorkerReport>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onFailure: (error: Error) => void;
  #started: StartWaiting | undefined;
  #jobs = 0;
  /** It may have started a program, which only it can end and wait for. */
  #startsPrograms = true;
  #hasEnded = false;
  #failure: Error | undefined;

  /** @param onFailure is told when the thread has ended or died, which it only does when something is wrong */
  constructor(setup: WorkerSetup, onFailure: (error: Error) => void) {
    this.#onFailure = onFailure;
    this.#worker = new Worker(workerCode(), {
      eval: true,
      workerData: setup,
      // To look for programs.
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
      name: 'onevmdump frames',
    });
    this.ready = new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
    });
    this.ready.catch(() => undefined);
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('messageerror', (error) => this.#fail(error));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', (code) => {
      this.#hasEnded = true;
      this.#fail(new Error(`it ended with code ${code}`));
    });
  }

  /** How many jobs it has not answered yet. */
  get load(): number {
    return this.#waiting.size;
  }

  addSlot(slot: number, memory: SlotMemory): void {
    this.#post({ kind: 'slot', slot, memory });
  }

  /** Jobs are carried out in the order in which they are given. @throws FrameDamage, FailedError */
  run(job: Job): Promise<unknown> {
    const answer = new Promise<unknown>((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      const id = this.#jobs++;
      // The process must not end while it waits for an answer.
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.set(id, { resolve, reject });
      this.#post({ kind: 'job', id, job });
    });
    // The caller may wait for another job first.
    answer.catch(() => undefined);
    return answer;
  }

  /** Makes everything reject with `reason`, and ends the thread. Never rejects; may be called twice. */
  async close(reason: Error): Promise<void> {
    this.#failure ??= reason;
    this.#rejectAll();
    await this.#stopPrograms();
    await this.#worker.terminate();
  }

  /** Has the worker end its program; what is not waited for would stay as a zombie. */
  async #stopPrograms(): Promise<void> {
    if (!this.#startsPrograms || this.#hasEnded) return;
    // An idle worker does not keep the process alive, which would then end in the middle of its work, with exit code 0.
    this.#worker.ref();
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    this.#post({ kind: 'stop' });
    await Promise.race([ended, setTimeout(mostProgramMs, undefined, { ref: false })]);
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    // An answer that comes while the thread is ended must not let the process end before it has.
    if (this.#failure) return;
    switch (message.kind) {
      case 'ready':
        this.#startsPrograms = message.report.startsPrograms;
        this.#started?.resolve(message.report);
        if (this.#waiting.size === 0) this.#worker.unref();
        return;
      case 'unable': {
        const text = `cannot ${message.does} on this machine: ${message.why}`;
        const error = message.does === 'compress' ? new UsageError(text) : new FailedError(text);
        this.#started?.reject(error);
        this.#end(error);
        return;
      }
      case 'done':
        this.#answered(message.id)?.resolve(message.result);
        return;
      case 'failed': {
        this.#answered(message.id)?.reject(errorOf(message));
      }
    }
  }

  #answered(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker.unref();
    return waiting;
  }

  #fail(cause: Error): void {
    if (this.#failure) return;
    this.#end(new FailedError(`a worker thread failed: ${cause.message}`, { cause }));
  }

  #end(error: Error): void {
    this.#failure ??= error;
    this.#rejectAll();
    this.#onFailure(this.#failure);
  }

  #rejectAll(): void {
    const error = this.#failure;
    this.#started?.reject(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

function errorOf({ damaged, program, why }: Extract<FromWorker, { kind: 'failed' }>): Error {
  if (damaged) return new FrameDamage(why);
  if (program === undefined) return new FailedError(`a worker thread failed: ${why}`);
  return new CommandError(`a worker thread failed: ${why}`, { command: program });
}
