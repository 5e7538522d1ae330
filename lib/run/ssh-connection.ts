// The one connection to a host: our ssh process, the master, through which all commands and forwarded
// sockets go. At its far end a keeper waits for heartbeats: when this process is killed, or the network is
// gone, it ends the connection there, and everything that was started through it.
import { spawn, type ChildProcess, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionError, errorMessage } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { environment } from './environment.ts';
import { quoteCommand } from './quote.ts';
import { findStart, heartbeat, keeperLine, parseStderr } from './remote-script.ts';
import type { SshTarget } from './runner.ts';
import { forwardArgs, masterArgs } from './ssh-args.ts';
import { isSessionRefusal, sshReason } from './ssh-errors.ts';

const heartbeatMs = 15_000;
/** How long the keeper waits for a heartbeat. A process that was stopped (Ctrl-Z) for longer loses its hosts. */
const keeperSeconds = 120;
/** Everything until our script runs: the connection, the login, a slow profile. */
const startLimitMs = 60_000;
const lastWordsMs = 500;
const mostStderr = 16 * 1024;

export interface SshConnection {
  readonly target: SshTarget;
  /** Path of the master's socket. */
  readonly control: string;
  /** In the command line of the `sh` that keeps the connection at its far end, and ends it on SIGTERM. */
  readonly keeper: string;
  /** Returns why it has ended; undefined while it is open. */
  failure(): ConnectionError | undefined;
  /** The same, for a caller who has noticed that something is wrong: waits a moment for the connection's end. */
  lost(): Promise<ConnectionError | undefined>;
  /** The same, for a caller who knows that it has failed: `stderr` is what ssh said. */
  explain(stderr: string): Promise<ConnectionError>;
  /** A new local socket that leads to `remote`; whether the host allows that shows when it is used. */
  forward(remote: string): Promise<string>;
}

export interface ConnectionOptions {
  /** As in ssh_config(5); empty for what ssh's configuration says. */
  readonly ciphers: string;
  readonly log: Log;
}

/**
 * Connects and logs in.
 * @param control path for the master's socket, with nothing special in it; forwarded sockets are beside it.
 * @throws ConnectionError
 */
export async function openConnection(
  target: SshTarget,
  control: string,
  options: ConnectionOptions,
): Promise<SshConnection> {
  const master = new Master(target, control, options);
  await master.ready();
  return master;
}

/** The ssh process that has the connection. */
class Master implements SshConnection {
  readonly target: SshTarget;
  readonly control: string;
  readonly keeper = `onevmdump-keeper-${randomBytes(8).toString('hex')}`;
  readonly #log: Log;
  readonly #nonce = randomBytes(16).toString('hex');
  /** As a person would type it, for messages. */
  readonly #command: string;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #stderrTail: () => string;
  /** Resolves with the reason when ssh could not be started. */
  readonly #ended: Promise<string | undefined>;
  #failure: ConnectionError | undefined;
  #forwarded = 0;

  constructor(target: SshTarget, control: string, { ciphers, log }: ConnectionOptions) {
    this.target = target;
    this.control = control;
    this.#log = log;
    const args = masterArgs(target, control, ciphers);
    this.#command = quoteCommand('ssh', args);
    log.debug(`start ${this.#command}`);
    this.#process = spawn('ssh', args, { detached: true, env: environment() });
    this.#stderrTail = collected(this.#process.stderr);
    this.#ended = endOf(this.#process);
  }

  /** Waits for the login, and keeps the connection from then on. @throws ConnectionError */
  async ready(): Promise<void> {
    const { stdin, stdout } = this.#process;
    stdin.on('error', () => undefined);
    stdin.write(keeperLine(this.keeper, this.#nonce, keeperSeconds));
    const late = setTimeout(() => this.#process.kill('SIGKILL'), startLimitMs);
    const start = await readStart(stdout, this.#nonce);
    clearTimeout(late);
    if ('noise' in start) {
      this.#process.kill();
      const why = (await this.#ended) ?? sshReason(this.target, this.#stderr(), start.noise);
      throw this.#fail(`cannot connect to ${this.target.host}: ${why}`);
    }
    stdout.resume();
    const beating = setInterval(() => stdin.write(heartbeat), heartbeatMs).unref();
    void this.#ended.then(() => {
      clearInterval(beating);
      const why = sshReason(this.target, this.#stderr());
      this.#fail(`the connection to ${this.target.host} was lost: ${why}`);
    });
  }

  failure(): ConnectionError | undefined {
    return this.#failure;
  }

  async lost(): Promise<ConnectionError | undefined> {
    await Promise.race([this.#ended, sleep(lastWordsMs)]);
    return this.#failure;
  }

  async explain(stderr: string): Promise<ConnectionError> {
    const { target } = this;
    const reason = sshReason(target, stderr);
    return (
      // A connection that refuses a session stays open.
      (isSessionRefusal(stderr) ? this.#failure : await this.lost()) ??
      new ConnectionError(`the connection to ${target.host} failed: ${reason}`, {
        command: this.#command,
        stderr,
      })
    );
  }

  async forward(remote: string): Promise<string> {
    const local = `${this.control}.${++this.#forwarded}`;
    try {
      await orderForward(this.target, this.control, local, remote, this.#log);
    } catch (error) {
      // A master that has just ended refuses the order, as if nobody listened at the host.
      throw (await this.lost()) ?? error;
    }
    return local;
  }

  #stderr(): string {
    return parseStderr(Buffer.from(this.#stderrTail()), this.#nonce).text;
  }

  /** The first failure stays. */
  #fail(reason: string): ConnectionError {
    const facts = { command: this.#command, stderr: this.#stderr() };
    return (this.#failure ??= new ConnectionError(reason, facts));
  }
}

/** Resolves when the process has ended, with the reason where it could not even be started. */
async function endOf(child: ChildProcess): Promise<string | undefined> {
  try {
    await once(child, 'exit');
    return undefined;
  } catch (error) {
    const reason = errorMessage(error);
    return reason.includes('ENOENT') ? 'ssh is not installed' : reason;
  }
}

/** Returns a function that gives the end of what the stream has said so far. */
function collected(stream: Readable): () => string {
  let tail = '';
  stream.on('data', (data: Buffer) => {
    tail = (tail + data.toString()).slice(-mostStderr);
  });
  return () => tail;
}

/**
 * Reads up to where our script begins to speak; what follows it can then be read as usual.
 * @returns the script's process group; or all that was said, when the script never spoke.
 */
export async function readStart(
  stdout: Readable,
  nonce: string,
): Promise<{ readonly group: number } | { readonly noise: string }> {
  let seen: Buffer = Buffer.alloc(0);
  return await new Promise((resolve) => {
    const read = (): void => {
      for (;;) {
        const chunk = stdout.read() as Buffer | null;
        if (chunk === null) return;
        seen = Buffer.concat([seen.subarray(-mostStderr), chunk]);
        const start = findStart(seen, nonce);
        if (!start) continue;
        stop();
        if (start.end < seen.length) stdout.unshift(seen.subarray(start.end));
        resolve({ group: start.group });
        return;
      }
    };
    const end = (): void => {
      stop();
      resolve({ noise: seen.toString() });
    };
    const stop = (): void => {
      stdout.off('readable', read).off('end', end).off('close', end);
    };
    stdout.on('readable', read).on('end', end).on('close', end);
  });
}

async function orderForward(
  target: SshTarget,
  control: string,
  local: string,
  remote: string,
  log: Log,
): Promise<void> {
  const args = forwardArgs(target, control, local, remote);
  const command = quoteCommand('ssh', args);
  const what = `forward the socket ${remote} of ${target.host}`;
  // ssh replaces these in paths, and not all versions can be kept from it.
  if (/%|\$\{/.test(remote)) {
    throw new ConnectionError(`cannot ${what}: ssh allows neither % nor \${ in its path`, {
      command,
    });
  }
  log.debug(`run ${command}`);
  const child = spawn('ssh', args, { stdio: ['ignore', 'ignore', 'pipe'], env: environment() });
  const stderr = collected(child.stderr);
  const [status] = (await once(child, 'close')) as [number | null];
  if (status === 0) return;
  throw new ConnectionError(`cannot ${what}: ${sshReason(target, stderr())}`, {
    command,
    stderr: stderr(),
  });
}
