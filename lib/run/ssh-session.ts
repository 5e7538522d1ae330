// One program on a host, through the host's connection: an ssh process of its own here, which hands its
// stdin, stdout and stderr to the master.
import { spawn } from 'node:child_process';
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
  /** Undefined when it was killed, or when nobody knows. */
  readonly status: number | 'missing' | undefined;
  /** The end of the program's own stderr. */
  readonly stderr: string;
  /** Why nobody knows. */
  readonly lost: ConnectionError | undefined;
  /** Nothing was run: the connection carries no more sessions. */
  readonly refused: boolean;
}

export interface Session {
  readonly stdin: Writable;
  /** Has nothing before `started`. */
  readonly stdout: Readable;
  /** The program's process group on the host, as soon as it is about to run; undefined when it will not. */
  readonly started: Promise<number | undefined>;
  /** Never rejects. Does not wait for stdout to be read. */
  readonly ended: Promise<SessionEnd>;
  /** Ends the program and its children: SIGTERM, then SIGKILL. Resolves when it has ended. */
  end(): Promise<void>;
}

/**
 * Starts a program. What goes wrong is told by `ended`.
 * @param kill runs the program that ends this one, in a session of its own; resolves when it has ended.
 */
export function startSession(
  connection: SshConnection,
  command: Command,
  kill: (killer: Command) => Promise<unknown>,
): Session {
  const { target, control } = connection;
  const nonce = randomBytes(16).toString('hex');
  const child = spawn('ssh', sessionArgs(target, control), { detached: true, env: environment() });
  const { stdin, stdout } = child;
  stdin.on('error', () => undefined);
  stdin.write(commandLine(nonce, command.endsByItself === true ? 'parent' : 'kill', command));

  let stderr: Buffer = Buffer.alloc(0);
  child.stderr.on('data', (data: Buffer) => {
    stderr = Buffer.concat([stderr, data]).subarray(-mostStderr);
  });
  const started = readStart(stdout, nonce);
  let ending: Promise<void> | undefined;
  const ended = whenEnded();

  async function whenEnded(): Promise<SessionEnd> {
    const said = once(child.stderr, 'close').catch(() => undefined);
    // ssh could not be started, though it could before.
    await once(child, 'exit').catch(() => undefined);
    // The master has it as well, and may wait for a host that does not answer.
    if (!(await endsWithin(said, lastWordsMs))) child.stderr.destroy();
    const { text, status } = parseStderr(stderr, nonce);
    const end = { status, stderr: text, refused: false };
    if (status !== undefined) return { ...end, lost: undefined };
    // Ended by us, because it took too long: a host that does not answer any more may be the reason.
    if (ending) return { ...end, lost: await connection.lost() };
    if (isSessionRefusal(text)) {
      return { ...end, lost: await connection.explain(text), refused: !connection.failure() };
    }
    const noise = stdout.readableEnded ? await started : undefined;
    const words = noise && 'noise' in noise ? `${noise.noise}\n${text}` : text;
    return { ...end, lost: await connection.explain(words) };
  }

  async function signal(name: 'TERM' | 'KILL'): Promise<void> {
    const start = await Promise.race([started, sleep(0)]);
    if (!start || !('group' in start)) {
      // It does not run yet. When it is about to, it finds that nobody listens, and ends.
      child.kill('SIGKILL');
      return;
    }
    const args = ['-c', 'kill -s "$1" -- "-$2"', 'sh', name, String(start.group)];
    await endsWithin(
      kill({ program: 'sh', args }).catch(() => undefined),
      graceMs,
    );
  }

  async function endIt(): Promise<void> {
    // Nobody reads it any more, and ssh would wait for that.
    stdout.destroy();
    stdin.destroy();
    if (await endsWithin(ended, 0)) return;
    await signal('TERM');
    if (!(await endsWithin(ended, graceMs))) await signal('KILL');
    // The connection hangs, and our end of it goes at least.
    if (!(await endsWithin(ended, graceMs))) child.kill('SIGKILL');
    await ended;
  }

  return {
    stdin,
    stdout,
    started: started.then((start) => ('group' in start ? start.group : undefined)),
    ended,
    end: () => (ending ??= endIt()),
  };
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
