// Runs programs on a host by ssh.
import type { Readable } from 'node:stream';
import { CommandError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { defaultTimeoutMs, lastWords } from './local-runner.ts';
import { quoteCommand } from './quote.ts';
import { saidBy } from './said-by.ts';
import type {
  Command,
  ForwardedSocket,
  Output,
  PipedService,
  Runner,
  RunOptions,
  Service,
  SshTarget,
} from './runner.ts';
import type { SshConnection } from './ssh-connection.ts';
import { startSession, type Session, type SessionEnd } from './ssh-session.ts';
import type { SessionKind, SessionSlots, Slot } from './ssh-slots.ts';

export interface SshRunnerDeps {
  readonly target: SshTarget;
  /** Returns one of the connections to the host, counted from 0; connects again if it was lost. @throws ConnectionError */
  readonly connect: (lane: number) => Promise<SshConnection>;
  /** Shared by all runners of these connections. */
  readonly slots: SessionSlots;
  readonly log: Log;
  /** Ends running programs when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Runs programs on one host, each in a session of its own. */
export class SshRunner implements Runner {
  readonly where: string;
  readonly target: SshTarget;
  readonly #deps: SshRunnerDeps;

  constructor(deps: SshRunnerDeps) {
    this.#deps = deps;
    this.target = deps.target;
    this.where = deps.target.host;
  }

  async run(command: Command, options: RunOptions = {}): Promise<Output> {
    const { input = '', timeoutMs = defaultTimeoutMs, maxOutput = 16 * 1024 * 1024 } = options;
    const interrupt = options.uninterrupted === true ? undefined : this.#deps.signal;
    const { session, slot } = await this.#begin('command', command, interrupt);
    let why: string | undefined;
    const end = (): void => void session.end();
    const timer =
      timeoutMs > 0
        ? setTimeout(() => {
            why = `gave no answer within ${timeoutMs / 1000} s`;
            end();
          }, timeoutMs)
        : undefined;
    interrupt?.addEventListener('abort', end, { once: true });
    if (interrupt?.aborted) end();
    session.stdin.end(input);
    const stdout = await collect(session, maxOutput, () => {
      why = 'printed more than expected';
      end();
    });
    const result = await session.ended;
    clearTimeout(timer);
    interrupt?.removeEventListener('abort', end);
    if (result.refused && (await slot.refused())) return this.run(command, options);
    interrupt?.throwIfAborted();
    const { status } = result;
    const accepted: readonly unknown[] = [0, ...(options.acceptStatus ?? [])];
    if (why === undefined && typeof status === 'number' && accepted.includes(status)) {
      return { status, stdout, stderr: result.stderr };
    }
    const { doing = `run ${command.program}` } = options;
    throw this.#failure(command, result, { doing, why });
  }

  async start(command: Command): Promise<Service> {
    const { session, service } = await this.#startRunning(command);
    session.stdin.end();
    session.stdout.resume();
    return service;
  }

  async startPiped(command: Command): Promise<PipedService> {
    const { session, service } = await this.#startRunning(command);
    return { ...service, stdin: session.stdin, stdout: session.stdout };
  }

  async forwardSocket(path: string): Promise<ForwardedSocket> {
    const connection = await this.#deps.connect(0);
    return { path: await connection.forward(path), lost: () => connection.lost() };
  }

  /** Starts a session. Its slot is released when the session has ended, unless the host refused the session. */
  async #begin(
    kind: SessionKind,
    command: Command,
    interrupt: AbortSignal | undefined,
  ): Promise<{ session: Session; slot: Slot }> {
    const { connect, slots, log } = this.#deps;
    interrupt?.throwIfAborted();
    const slot = await slots.take(kind);
    try {
      interrupt?.throwIfAborted();
      const connection = await connect(slot.lane);
      const verb = kind === 'command' ? 'run' : 'start';
      log.debug(`${verb} on ${this.where}: ${quoteCommand(command.program, command.args)}`);
      const session = startSession(connection, command, (killer) => this.#kill(killer));
      void session.ended.then(({ refused }) => {
        if (!refused) slot.release();
      });
      return { session, slot };
    } catch (error) {
      slot.release();
      throw error;
    }
  }

  /** Runs a program that ends another one, whatever its result. */
  async #kill(killer: Command): Promise<void> {
    for (;;) {
      const { session, slot } = await this.#begin('other', killer, undefined);
      session.stdin.end();
      session.stdout.resume();
      if (!(await session.ended).refused || !(await slot.refused())) return;
    }
  }

  /** Starts a program that keeps running. */
  async #startRunning(command: Command): Promise<{ session: Session; service: Service }> {
    const { session, slot } = await this.#begin('other', command, this.#deps.signal);
    const pid = await session.started;
    if (pid === undefined) {
      const end = await session.ended;
      if (end.refused && (await slot.refused())) return this.#startRunning(command);
      throw this.#failure(command, end, { doing: 'start' });
    }
    const ended = session.ended.then(({ status, stderr, lost }) => ({
      status: typeof status === 'number' ? status : undefined,
      stderr: lost ? lost.message : lastWords(stderr),
      lost,
    }));
    return { session, service: { pid, ended, stop: () => session.end() } };
  }

  #failure(
    { program, args }: Command,
    { status, stderr, lost }: SessionEnd,
    { doing, why }: { readonly doing: string; readonly why?: string | undefined },
  ): CommandError {
    if (lost) return lost;
    const host = this.where;
    const reason =
      why ??
      (status === 'missing'
        ? 'is not installed'
        : lastWords(stderr) || `exit status ${status ?? '?'}`);
    const text =
      doing === 'start'
        ? `cannot start ${program} on ${host}: ${reason}`
        : `cannot ${doing} on ${host}: ${saidBy(program, reason)}`;
    return new CommandError(text, {
      command: `ssh ${host}: ${quoteCommand(program, args)}`,
      status: typeof status === 'number' ? status : undefined,
      stderr,
    });
  }
}

/** All that a program prints. More than `most` bytes are reported by `tooMuch`, and not kept. */
async function collect(session: Session, most: number, tooMuch: () => void): Promise<Buffer> {
  if ((await session.started) === undefined) return Buffer.alloc(0);
  const { stdout } = session;
  const chunks: Buffer[] = [];
  let length = 0;
  await new Promise<void>((resolve) => {
    stdout.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > most) tooMuch();
      else chunks.push(chunk);
    });
    whenOver(stdout, resolve);
  });
  return Buffer.concat(chunks);
}

function whenOver(stdout: Readable, over: () => void): void {
  if (stdout.destroyed) over();
  stdout.once('end', over).once('close', over).once('error', over);
}
