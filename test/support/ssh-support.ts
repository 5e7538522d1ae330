// Connections of a test's own, and their end.
import { readdir, readFile, rm } from 'node:fs/promises';
import { createLog } from '../../lib/report/log.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Runner } from '../../lib/run/runner.ts';
import { SshConnections } from '../../lib/run/ssh-connections.ts';
import type { Undo } from '../../lib/run/undo.ts';
import { stopProcesses } from '../../lib/run/processes.ts';
import { quiet } from './nbd-servers.ts';
import type { TestSshd } from './sshd.ts';

export interface Connected {
  readonly runner: Runner;
  /** The same host, with a signal. */
  runnerWith(signal: AbortSignal): Runner;
  /** The private folder of the sockets; empty before the first connection. */
  folder(): string;
  readonly warnings: readonly string[];
  /** Kills the connection. */
  cut(): Promise<void>;
  /** Ends what the journal would end. */
  close(): Promise<void>;
}

/** Lets the processes of this test find the sshd, too. */
export function useSshd({ bin }: Pick<TestSshd, 'bin'>): () => void {
  const before = process.env['PATH'];
  process.env['PATH'] = `${bin}:${before ?? ''}`;
  return () => {
    process.env['PATH'] = before;
  };
}

/** @param user the one of ssh's configuration, unless it is given */
export function connectionsTo(host: string, user?: string): Connected {
  const target = { host, ...(user === undefined ? {} : { user }) };
  const undos: Undo[] = [];
  const warnings: string[] = [];
  const connections = new SshConnections({
    log: createLog({
      script: 'test',
      debug: false,
      write: (line) => {
        if (line.startsWith('WARNING')) warnings.push(line);
      },
    }),
    record: (undo) => Promise.resolve(undos.push(undo)),
  });
  const folder = (): string => {
    const found = undos.find((undo) => undo.kind === 'remove-folder');
    return typeof found?.['path'] === 'string' ? found['path'] : '';
  };
  return {
    runner: connections.runner(target),
    runnerWith: (signal) => connections.runner(target, signal),
    folder,
    warnings,
    async cut() {
      for (const pid of await processesWith(`${folder()}/`, 'ServerAlive')) {
        process.kill(pid, 'SIGKILL');
      }
    },
    async close() {
      if (folder() === '') return;
      await stopProcesses(localRunner(quiet), 'ssh', `${folder()}/`);
      await rm(folder(), { recursive: true, force: true });
    },
  };
}

/** The processes that have both of these in their command lines. */
export async function processesWith(word: string, other = ''): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(word) && line.includes(other)) found.push(Number(pid));
  }
  return found;
}
