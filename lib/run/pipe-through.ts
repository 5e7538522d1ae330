// Runs a program as a stage of a stream: bytes in, bytes out, nothing kept. For decompressors that
// read a whole file; filter.ts is for many small files.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { CommandError } from '../report/errors.ts';
import { quoteCommand } from './quote.ts';
import type { Command } from './runner.ts';
import { saidBy } from './said-by.ts';

/**
 * Yields what `command` makes of `input`, no faster than the caller reads. The program is killed when the
 * caller stops early or `signal` is aborted, and it has ended when the iteration ends.
 * @throws the input's own error first; CommandError when the program cannot be started or exits with
 *   another status than 0.
 */
export async function* pipeThrough(
  { program, args }: Command,
  input: AsyncIterable<Buffer>,
  { doing, signal }: { readonly doing: string; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Buffer> {
  const child = execa(program, [...args], {
    reject: false,
    buffer: false,
    stdin: 'pipe',
    extendEnv: false,
    env: { LANG: 'C', LC_ALL: 'C', PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    ...(signal ? { cancelSignal: signal } : {}),
  });
  let lastWords = '';
  child.stderr.on('data', (data: Buffer) => {
    lastWords = (lastWords + data.toString()).slice(-2000);
  });
  const watched = watchErrors(input);
  const fed = pipeline(Readable.from(watched.input, { highWaterMark: 1 }), child.stdin).catch(
    // When the program stops reading, its exit status says why.
    () => undefined,
  );
  let complete = false;
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer;
    complete = true;
  } finally {
    if (!complete) child.kill('SIGKILL');
    await Promise.allSettled([child, fed]);
  }
  const result = await child;
  signal?.throwIfAborted();
  if (watched.failure) throw watched.failure.reason;
  if (result.exitCode === 0) return;
  const why =
    result.code === 'ENOENT'
      ? 'is not installed'
      : lastWords.trim().split('\n').slice(-3).join(' ') || result.originalMessage;
  throw new CommandError(`cannot ${doing}: ${saidBy(program, why ?? 'unknown reason')}`, {
    code: result.code === 'ENOENT' ? 'command-not-found' : undefined,
    command: quoteCommand(program, args),
    status: result.exitCode,
    stderr: lastWords,
    cause: result,
  });
}

/** Remembers the error of an input: the program only sees that its input has ended. */
function watchErrors(source: AsyncIterable<Buffer>) {
  const watched = { input: watch(), failure: undefined as { reason: unknown } | undefined };
  async function* watch() {
    const iterator = source[Symbol.asyncIterator]();
    const next = () =>
      iterator.next().catch((reason: unknown) => {
        watched.failure = { reason };
        throw reason;
      });
    try {
      // Not `yield* source`: that would also record what Readable.from throws into it, such as EPIPE.
      for (let item = await next(); item.done !== true; item = await next()) yield item.value;
    } finally {
      await iterator.return?.();
    }
  }
  return watched;
}
