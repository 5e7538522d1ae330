// Writes a bundle to a file on another machine: it is streamed into a part file there, which gets its name when it is complete.
// A watchdog on that machine removes the file when the connection is lost; its undo is also in the journal.
import { dirname } from 'node:path/posix';
import { CommandError, ConnectionError, errorMessage } from '../../report/errors.ts';
import type { PipedService, Runner } from '../../run/runner.ts';
import {
  finishBundle,
  nameBundle,
  removeUnfinished,
  startBundleWatchdog,
  startWriting,
  type BundleFile,
} from './host-file.ts';
import { stopProcesses } from '../../run/processes.ts';
import type { BundleSink } from '../sink.ts';

/**
 * Opens the part file on the machine of `runner`. The caller has recorded its undo.
 * @param name the bundle's name for messages: host:path
 * @throws CommandError when the file exists or cannot be created; ConnectionError
 */
export async function createSshSink(
  runner: Runner,
  file: BundleFile,
  { name, signal }: { readonly name: string; readonly signal: AbortSignal },
): Promise<BundleSink> {
  const watchdog = await startBundleWatchdog(runner, file);
  const stream = await startWriting(runner, file);
  stream.stdout.resume();
  const stop = (): void => void stream.stop();
  signal.addEventListener('abort', stop, { once: true });
  let position = 0;
  let ended = false;

  return {
    name,

    async write(data) {
      try {
        await writeTo(stream, data);
      } catch (error) {
        signal.throwIfAborted();
        throw await whyNotWritten(stream, name, error);
      }
      position += data.length;
    },

    async commit() {
      stream.stdin.end();
      const end = await stream.ended;
      signal.throwIfAborted();
      if (end.status !== 0) throw await whyNotWritten(stream, name, undefined);
      await nameBundle(runner, file, dirname(file.path));
      signal.throwIfAborted();
      await finish(runner, file, position);
      ended = true;
      signal.removeEventListener('abort', stop);
      await watchdog.stop();
    },

    async discard() {
      if (ended) return;
      ended = true;
      signal.removeEventListener('abort', stop);
      await stream.stop();
      try {
        await removeUnfinished(runner, file);
        await watchdog.stop();
      } catch {
        // Not reported, because the caller has a better error. The watchdog still runs, and the undo is in the journal.
      }
    },
  };
}

async function writeTo({ stdin, ended }: PipedService, data: Uint8Array): Promise<void> {
  const written = new Promise<void>((resolve, reject) => {
    stdin.write(data, (error) => (error ? reject(error) : resolve()));
  });
  // When the program has ended, the write may never call back.
  const over = ended.then(() => Promise.reject(new Error('the connection has ended')));
  await Promise.race([written, over]);
}

async function whyNotWritten(
  { ended }: PipedService,
  name: string,
  cause: unknown,
): Promise<CommandError> {
  const { status, stderr } = await ended;
  const why = stderr || (cause ? errorMessage(cause) : `dd ended with status ${status ?? '?'}`);
  const text = `cannot write ${name}: ${why}`;
  return new CommandError(text, { command: 'dd', status, stderr, cause });
}

/** The last step. When the connection is lost during it, it may or may not have been done, so it is repeated. */
async function finish(runner: Runner, file: BundleFile, size: number): Promise<void> {
  try {
    await finishBundle(runner, file, size);
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    // The watchdog may be removing the bundle at this moment.
    await stopProcesses(runner, 'sh', file.part);
    await finishBundle(runner, file, size);
  }
}
