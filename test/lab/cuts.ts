// The ways in which a connection ends that has no say in it.
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesWith } from '../run/ssh-support.ts';
import type { Account } from './accounts.ts';
import type { LabVm } from './lab-vm.ts';

export interface Cuts {
  readonly 'ssh is killed': () => Promise<void>;
  readonly 'sshd is killed': () => Promise<void>;
  /** Nothing goes through any more, and nobody says so. */
  readonly 'sshd is stopped': () => Promise<void>;
}

/** They cut the connections to one account. */
export function cutsOf({ name }: Account): Cuts {
  const toSshd = (signal: NodeJS.Signals): Promise<void> => signalSshd(name, signal);
  return {
    'ssh is killed': async () => {
      for (const pid of await processesWith('ServerAliveInterval', `\0-l\0${name}\0`)) {
        kill(pid, 'SIGKILL');
      }
    },
    'sshd is killed': () => toSshd('SIGKILL'),
    'sshd is stopped': () => toSshd('SIGSTOP'),
  };
}

/** The half of a stopped sshd that is root's: what else would end it is a restart of the host. */
export async function goOn({ name }: Account): Promise<void> {
  await signalSshd(name, 'SIGCONT');
}

async function signalSshd(account: string, signal: NodeJS.Signals): Promise<void> {
  for (const pid of await sshdProcesses(account)) kill(pid, signal);
}

/** Both of a connection: the one that is root, and the account's own. */
async function sshdProcesses(account: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.startsWith(`sshd: ${account}`)) found.push(Number(pid));
  }
  return found;
}

/** It may just have ended. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** How many seconds after `cutAt` says a time, in epoch milliseconds, a guest is not frozen any more. */
export async function secondsToThaw(vm: LabVm, cutAt: () => number | undefined): Promise<number> {
  for (let tries = 0; cutAt() === undefined; tries++) {
    if (tries > 2000) throw new Error('no connection was cut');
    await sleep(50);
  }
  while (await vm.isFrozen()) await sleep(200);
  return (Date.now() - (cutAt() ?? 0)) / 1000;
}
