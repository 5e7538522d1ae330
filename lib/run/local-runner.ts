// Runs programs on this machine.
import { execa } from 'execa';
import { CommandError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { environment } from './environment.ts';
import { quoteCommand } from './quote.ts';
import { saidBy } from './said-by.ts';
import type { Command, Output, PipedService, Runner, RunOptions, Service } from './runner.ts';

export const stopGraceMs = 5000;
export const defaultTimeoutMs = 60_000;

/** The last lines of a program's stderr: enough to understand a failure, and no more. */
export function lastWords(stderr: string): string {
  // A progress display overwrites its lines, and on a terminal only the last one is seen.
  const shown = stderr.replaceAll(/[^\n]*\r(?!\n)/g, '');
  return shown.trim().split('\n').slice(-5).join('\n').slice(-2000);
}

/** Ends a program and its children after a time limit, or when `signal` is aborted: SIGTERM, then SIGKILL. */
function endWhen(
  pid: number | undefined,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): { timedOut(): boolean; stop(): void } {
  let timedOut = false;
  let forced: NodeJS.Timeout | undefined;
  const end = (): void => {
    killGroup(pid, 'SIGTERM');
    forced = setTimeout(() => killGroup(pid, 'SIGKILL'), stopGraceMs);
  };
  const timer =
    timeoutMs > 0
      ? setTimeout(() => {
          timedOut = true;
          end();
        }, timeoutMs)
      : undefined;
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted) end();
  return {
    timedOut: () => timedOut,
    stop() {
      clearTimeout(timer);
      clearTimeout(forced);
      signal?.removeEventListener('abort', end);
    },
  };
}

function killGroup(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {
    // It has already ended.
  }
}

/** A runner for this machine; `signal` ends running programs when it is aborted. */
export function localRunner(log: Log, signal?: AbortSignal): Runner {
  return {
    where: 'this machine',
    target: undefined,

    async run({ program, args, env }: Command, options: RunOptions = {}): Promise<Output> {
      const line = quoteCommand(program, args);
      const interrupt = options.uninterrupted === true ? undefined : signal;
      log.debug(`run ${line}`);
      const child = execa(program, [...args], {
        reject: false,
        encoding: 'buffer',
        stripFinalNewline: false,
        env: { ...environment(), ...env },
        maxBuffer: { stdout: options.maxOutput ?? 16 * 1024 * 1024, stderr: 1024 * 1024 },
        // A process group of its own: a program's children are ended with it, and a Ctrl-C on the
        // terminal reaches only us, who know what to undo.
        detached: true,
        ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
      });
      const guard = endWhen(child.pid, options.timeoutMs ?? defaultTimeoutMs, interrupt);
      const result = await child;
      guard.stop();
      interrupt?.throwIfAborted();
      const stderr = Buffer.from(result.stderr).toString();
      const accepted = [0, ...(options.acceptStatus ?? [])];
      const status = result.isMaxBuffer || guard.timedOut() ? undefined : result.exitCode;
      if (status !== undefined && accepted.includes(status)) {
        return { status, stdout: Buffer.from(result.stdout), stderr };
      }
      const why = guard.timedOut()
        ? `gave no answer within ${(options.timeoutMs ?? defaultTimeoutMs) / 1000} s`
        : result.isMaxBuffer
          ? 'printed more than expected'
          : result.code === 'ENOENT'
            ? 'is not installed'
            : lastWords(stderr) ||
              // execa's own words have the whole command line, which may be a script.
              (result.exitCode === undefined ? result.originalMessage : undefined) ||
              `exit status ${result.exitCode ?? '?'}`;
      throw new CommandError(
        `cannot ${options.doing ?? `run ${program}`}: ${saidBy(program, why)}`,
        {
          code: result.code === 'ENOENT' ? 'command-not-found' : undefined,
          command: line,
          status: result.exitCode,
          stderr,
          cause: result,
        },
      );
    },

    async start(command: Command): Promise<Service> {
      return service(await startChild(command, 'ignore', log));
    },

    async startPiped(command: Command): Promise<PipedService> {
      const started = await startChild(command, 'pipe', log);
      const { stdin, stdout } = started.child;
      if (!stdin || !stdout) throw new Error('execa gave no pipes');
      return { ...service(started), stdin, stdout };
    },

    forwardSocket: (path) => Promise.resolve({ path, lost: () => Promise.resolve(undefined) }),
  };
}

/** Starts a program that keeps running; the end of its stderr is kept to explain its exit. */
async function startChild({ program, args, env }: Command, pipes: 'ignore' | 'pipe', log: Log) {
  const line = quoteCommand(program, args);
  log.debug(`start ${line}`);
  const child = execa(program, [...args], {
    reject: false,
    stdin: pipes,
    stdout: pipes,
    env: { ...environment(), ...env },
    buffer: false,
    forceKillAfterDelay: stopGraceMs,
    // A server must outlive a Ctrl-C on the terminal until its reader has been closed.
    detached: true,
  });
  let tail = '';
  child.stderr.on('data', (data: Buffer) => {
    tail = (tail + data.toString()).slice(-4000);
  });
  const ended = child.then((result) => ({ status: result.exitCode, stderr: lastWords(tail) }));
  const pid = child.pid;
  if (pid === undefined) {
    const result = await child;
    const why = result.code === 'ENOENT' ? 'is not installed' : result.originalMessage;
    throw new CommandError(`cannot start ${program}: ${why ?? 'unknown reason'}`, {
      code: result.code === 'ENOENT' ? 'command-not-found' : undefined,
      command: line,
      cause: result,
    });
  }
  return { child, pid, ended };
}

function service({ child, pid, ended }: Awaited<ReturnType<typeof startChild>>): Service {
  return {
    pid,
    ended,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
