// A bundle as a file on another machine: streamed into a part file there, and given its name when it is
// whole. A guard beside the file removes it when the connection is lost; the journal has it, too.
import { dirname } from 'node:path/posix';
import { CommandError, ConnectionError, errorMessage } from '../../report/errors.ts';
import type { PipedService, Runner } from '../../run/runner.ts';
import {
  finishBundle,
  nameBundle,
  removeUnfinished,
  startBundleGuard,
  startWriting,
  type BundleFile,
} from './host-file.ts';
import { stopProcesses } from '../../run/processes.ts';
import type { BundleSink } from '../sink.ts';

/**
 * Opens the part file on the machine of `runner`. Its way back is in the journal already.
 * @param name what the bundle is called in messages: host:path.
 * @throws CommandError when the file exists or cannot be created; ConnectionError
 */
export async function createSshSink(
  runner: Runner,
  file: BundleFile,
  { name, signal }: { readonly name: string; readonly signal: AbortSignal },
): Promise<BundleSink> {
  const guard = await startBundleGuard(runner, file);
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
      await guard.stop();
    },

    async discard() {
      if (ended) return;
      ended = true;
      signal.removeEventListener('abort', stop);
      await stream.stop();
      try {
        await removeUnfinished(runner, file);
        await guard.stop();
      } catch {
        // The guard goes on, the journal knows of it, and its user has a better error.
      }
    },
  };
}

async function writeTo({ stdin, ended }: PipedService, data: Uint8Array): Promise<void> {
  const written = new Promise<void>((resolve, reject) => {
    stdin.write(data, (error) => (error ? reject(error) : resolve()));
  });
  // A program that has ended takes nothing, and a connection that hangs does not say so.
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

/** The last step. When the connection is lost in it, nobody knows whether it was done: so once more. */
async function finish(runner: Runner, file: BundleFile, size: number): Promise<void> {
  try {
    await finishBundle(runner, file, size);
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    // The guard may just be removing it all.
    await stopProcesses(runner, 'sh', file.part);
    await finishBundle(runner, file, size);
  }
}
