// One program on a host, through the host's connection: it has an ssh process on this machine, which hands
// its stdin, stdout and stderr to the master.
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionError } from '../report/errors.ts';
import { environment } from './environment.ts';
import { commandLine, parseStderr } from './remote-script.ts';
import type { Command } from './runner.ts';
import { sessionArgs } from './ssh-args.ts';
import { readStart, type SshConnection } from './ssh-connection.ts';
import { isSessionRefusal } from './ssh-errors.ts';

const mostStderr = 256 * 1024;
const graceMs = 5000;
const lastWordsMs = 2000;

export interface SessionEnd {
  /** Undefined when the program was killed, or when its status is not known. */
  readonly status: number | 'missing' | undefined;
  /** The end of the program's own stderr. */
  readonly stderr: string;
  /** Why the status is not known: the connection was lost. */
  readonly lost: ConnectionError | undefined;
  /** Nothing was run: the connection accepts no more sessions. */
  readonly refused: boolean;
}

export interface Session {
  readonly stdin: Writable;
  /** Empty before `started`. */
  readonly stdout: Readable;
  /** The program's process group on the host, as soon as it is about to run; undefined when it will not. */
  readonly started: Promise<number | undefined>;
  /** Never rejects. Does not wait for stdout to be read. */
  readonly ended: Promise<SessionEnd>;
  /** Ends the program and its children: SIGTERM, then SIGKILL. Resolves when it has ended. */
  end(): Promise<void>;
}

/** Runs the program that ends another one, in a session of its own; resolves when it has ended. */
type Kill = (killer: Command) => Promise<unknown>;

/** Starts a program. What goes wrong is reported by `ended`. */
export function startSession(connection: SshConnection, command: Command, kill: Kill): Session {
  return new RunningSession(connection, command, kill);
}

class RunningSession implements Session {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly started: Promise<number | undefined>;
  readonly ended: Promise<SessionEnd>;
  readonly #connection: SshConnection;
  readonly #kill: Kill;
  readonly #nonce = randomBytes(16).toString('hex');
  readonly #ssh: ChildProcessWithoutNullStreams;
  readonly #start: ReturnType<typeof readStart>;
  #stderr: Buffer = Buffer.alloc(0);
  /** Set when we have begun to end the program. */
  #ending: Promise<void> | undefined;

  constructor(connection: SshConnection, command: Command, kill: Kill) {
    this.#connection = connection;
    this.#kill = kill;
    const args = sessionArgs(connection.target, connection.control);
    this.#ssh = spawn('ssh', args, { detached: true, env: environment() });
    const { stdin, stdout, stderr } = this.#ssh;
    this.stdin = stdin;
    this.stdout = stdout;
    stdin.on('error', () => undefined);
    const endOfConnection = command.endsByItself === true ? 'parent' : 'kill';
    stdin.write(commandLine(this.#nonce, endOfConnection, command));
    stderr.on('data', (data: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, data]).subarray(-mostStderr);
    });
    this.#start = readStart(stdout, this.#nonce);
    this.started = this.#start.then((start) => ('group' in start ? start.group : undefined));
    this.ended = this.#whenEnded();
  }

  end(): Promise<void> {
    return (this.#ending ??= this.#endProgram());
  }

  async #whenEnded(): Promise<SessionEnd> {
    const { stderr } = this.#ssh;
    const said = once(stderr, 'close').catch(() => undefined);
    // It rejects when ssh could not be started, though it could before.
    await once(this.#ssh, 'exit').catch(() => undefined);
    // The master has it open as well, and may wait for a host that does not answer.
    if (!(await endsWithin(said, lastWordsMs))) stderr.destroy();
    const { text, status } = parseStderr(this.#stderr, this.#nonce);
    const end = { status, stderr: text, refused: false };
    if (status !== undefined) return { ...end, lost: undefined };
    const connection = this.#connection;
    // We ended it, because it took too long: the reason may be a host that no longer answers.
    if (this.#ending) return { ...end, lost: await connection.lost() };
    if (isSessionRefusal(text)) {
      return { ...end, lost: await connection.explain(text), refused: !connection.failure() };
    }
    const noise = this.stdout.readableEnded ? await this.#start : undefined;
    const words = noise && 'noise' in noise ? `${noise.noise}\n${text}` : text;
    return { ...end, lost: await connection.explain(words) };
  }

  async #endProgram(): Promise<void> {
    // Nobody reads it any more, and ssh would wait for that.
    this.stdout.destroy();
    this.stdin.destroy();
    if (await endsWithin(this.ended, 0)) return;
    await this.#signal('TERM');
    if (!(await endsWithin(this.ended, graceMs))) await this.#signal('KILL');
    // The connection hangs: at least our end of it is ended.
    if (!(await endsWithin(this.ended, graceMs))) this.#ssh.kill('SIGKILL');
    await this.ended;
  }

  async #signal(name: 'TERM' | 'KILL'): Promise<void> {
    const start = await Promise.race([this.#start, sleep(0)]);
    if (!start || !('group' in start)) {
      // It does not run yet. When it is about to, it finds that nobody listens, and ends.
      this.#ssh.kill('SIGKILL');
      return;
    }
    const args = ['-c', 'kill -s "$1" -- "-$2"', 'sh', name, String(start.group)];
    const killed = this.#kill({ program: 'sh', args }).catch(() => undefined);
    await endsWithin(killed, graceMs);
  }
}

async function endsWithin(ended: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      ended.then(() => true),
      sleep(ms, false, { signal: timer.signal }).catch(() => false),
    ]);
  } finally {
    timer.abort();
  }
}
