// What programs on a host have this process do for them: kill what belongs to another account, in the very moment
// they run. They write a file into a folder that everybody may write to, and wait until it is gone.
import { chmod, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/limits.ts';

export interface Requests {
  /** Lines of shell that ask for `what`, in double quotes, and go on when it is done. */
  ask(what: string): string;
  close(): Promise<void>;
}

/** Answers requests by `act`, one after another, until closed. What goes wrong is thrown by `close`. */
export async function answerRequests(
  folder: string,
  act: (what: string) => Promise<unknown>,
): Promise<Requests> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o1777);
  const closing = new AbortController();
  const answering = (async () => {
    while (!closing.signal.aborted) {
      for (const name of await readdir(folder)) {
        if (!name.endsWith('.ask')) continue;
        const path = join(folder, name);
        const what = (await readFile(path, 'utf8')).trim();
        try {
          await act(what);
        } finally {
          await rm(path);
        }
      }
      await sleep(20);
    }
  })();
  answering.catch(() => undefined);
  return {
    ask: (what) => `file='${folder}'/\${BASHPID:-$$}
  echo "${what}" > "$file" && mv "$file" "$file.ask"
  while [ -e "$file.ask" ]; do sleep 0.02; done`,
    async close() {
      closing.abort();
      await answering;
    },
  };
}

/** Sends a process a signal. Who goes on when this returns is the one that was meant to see it. */
export async function signal(pid: number, name: string): Promise<void> {
  process.kill(pid, name);
  if (name === 'SIGKILL') await until(`${pid} has ended`, async () => !(await isThere(pid)), 20);
  await sleep(100);
}

async function isThere(pid: number): Promise<boolean> {
  return (await readdir('/proc')).includes(String(pid));
}
