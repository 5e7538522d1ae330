// The one connection to a host: an ssh process of ours, the master, through which all commands and
// forwarded sockets go. At its far end a keeper waits for heartbeats: when we are killed, or the network is
// gone, it ends the connection there, and with it all that we run there.
import { spawn, type ChildProcess } from 'node:child_process';
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
/** How long the keeper waits for one. A process that was stopped (Ctrl-Z) for longer loses its hosts. */
const keeperSeconds = 120;
/** Everything until our script runs: the connection, the login, a slow profile. */
const startLimitMs = 60_000;
const lastWordsMs = 500;
const mostStderr = 16 * 1024;

export interface SshConnection {
  readonly target: SshTarget;
  /** Path of the master's socket. */
  readonly control: string;
  /** What the `sh` at its far end is found by that keeps the connection, and ends it on SIGTERM. */
  readonly keeper: string;
  /** Why it has ended; undefined while it stands. */
  readonly failure: () => ConnectionError | undefined;
  /** The same, for a caller who has noticed that something is wrong: it may take a moment to end. */
  lost(): Promise<ConnectionError | undefined>;
  /** The same for one who knows that it has failed, and has `stderr` to show. */
  explain(stderr: string): Promise<ConnectionError>;
  /** A new local socket that leads to `remote`; whether the host allows that shows when it is used. */
  forward(remote: string): Promise<string>;
}

/**
 * Connects and logs in.
 * @param control path for the master's socket, with nothing special in it; forwarded sockets lie beside it.
 * @param ciphers as in ssh_config(5); empty for what ssh's configuration says.
 * @throws ConnectionError
 */
export async function openConnection(
  target: SshTarget,
  control: string,
  { ciphers, log }: { readonly ciphers: string; readonly log: Log },
): Promise<SshConnection> {
  const args = masterArgs(target, control, ciphers);
  const command = quoteCommand('ssh', args);
  log.debug(`start ${command}`);
  const master = spawn('ssh', args, { detached: true, env: environment() });
  const nonce = randomBytes(16).toString('hex');
  const keeper = `onevmdump-keeper-${randomBytes(8).toString('hex')}`;
  const tail = collected(master.stderr);
  const stderr = (): string => parseStderr(Buffer.from(tail()), nonce).text;
  const ended = endOf(master);
  let failure: ConnectionError | undefined;
  const fail = (reason: string): ConnectionError =>
    (failure ??= new ConnectionError(reason, { command, stderr: stderr() }));

  master.stdin.on('error', () => undefined);
  master.stdin.write(keeperLine(keeper, nonce, keeperSeconds));
  const late = setTimeout(() => master.kill('SIGKILL'), startLimitMs);
  const start = await readStart(master.stdout, nonce);
  clearTimeout(late);
  if ('noise' in start) {
    master.kill();
    const why = await ended.then((end) => end ?? sshReason(target, stderr(), start.noise));
    throw fail(`cannot connect to ${target.host}: ${why}`);
  }
  master.stdout.resume();
  const beating = setInterval(() => master.stdin.write(heartbeat), heartbeatMs).unref();
  void ended.then(() => {
    clearInterval(beating);
    fail(`the connection to ${target.host} was lost: ${sshReason(target, stderr())}`);
  });

  async function lost(): Promise<ConnectionError | undefined> {
    await Promise.race([ended, sleep(lastWordsMs)]);
    return failure;
  }

  let forwarded = 0;
  return {
    target,
    control,
    keeper,
    failure: () => failure,
    lost,
    async explain(text) {
      const reason = sshReason(target, text);
      return (
        // A connection that refuses a session goes on.
        (isSessionRefusal(text) ? failure : await lost()) ??
        new ConnectionError(`the connection to ${target.host} failed: ${reason}`, {
          command,
          stderr: text,
        })
      );
    },
    async forward(remote) {
      const local = `${control}.${++forwarded}`;
      try {
        await orderForward(target, control, local, remote, log);
      } catch (error) {
        // A master that has just ended refuses the order, as if nobody listened at the host.
        throw (await lost()) ?? error;
      }
      return local;
    },
  };
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

/** What a stream has said last. */
function collected(stream: Readable): () => string {
  let tail = '';
  stream.on('data', (data: Buffer) => {
    tail = (tail + data.toString()).slice(-mostStderr);
  });
  return () => tail;
}

/**
 * Reads up to where our script begins to speak; what follows can be read as usual then.
 * @returns the script's process group; or what else was said, when it never spoke.
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
