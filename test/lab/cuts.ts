// The ways in which a connection ends that has no say in it.
import { expect } from '@jest/globals';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../../lib/report/errors.ts';
import type { Ended } from '../support/shell.ts';
import { processesWith } from '../support/ssh-support.ts';
import type { Account } from './accounts.ts';
import type { LabVm } from './lab-vm.ts';
import type { RemoteScene } from './remote-scene.ts';

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
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

/** What cuts a connection, around the call of which program with which argument. */
export type Cut = readonly [
  how: keyof Cuts,
  program: string,
  word: string,
  when: 'before' | 'after',
];

/**
 * Exports a VM that runs, and cuts the connection to its host.
 * @returns how it ended, and how many seconds after the cut the guest was not frozen any more.
 */
export async function exportWhileCut(
  scene: RemoteScene,
  vm: LabVm,
  [how, program, word, when]: Cut,
  args: readonly string[] = [],
): Promise<{ readonly ended: Ended; readonly seconds: number }> {
  let cutAt: number | undefined;
  const act = async (): Promise<void> => {
    cutAt = Date.now();
    await cutsOf(scene.host)[how]();
  };
  await scene.disturb({ program, word, when, act });
  let over: Ended | undefined;
  const exporting = scene.exportOf(vm, args).then((ended) => (over = ended));
  const thawed = secondsToThaw(vm, () => {
    if (cutAt === undefined && over) {
      throw new Error(`no connection was cut: code ${over.code}: ${over.stderr}`);
    }
    return cutAt;
  });
  const [seconds, ended] = await Promise.all([thawed, exporting]);
  const what = `${how}, ${when} ${word}: thawed after ${seconds} s, code ${ended.code}`;
  process.stderr.write(`${what}: ${lastWords(ended)}\n`);
  return { ended, seconds };
}

/** That an export ended because its connection was lost. */
export function expectLost(ended: Ended): void {
  const last = lastWords(ended);
  expect({ last, code: ended.code }).toEqual({ last, code: 4 });
}

export function lastWords({ stderr }: Ended): string {
  return stderr.trim().split('\n').at(-1) ?? '';
}

/** How many seconds after `cutAt` says a time, in epoch milliseconds, a guest is not frozen any more. */
async function secondsToThaw(vm: LabVm, cutAt: () => number | undefined): Promise<number> {
  while (cutAt() === undefined) await sleep(50);
  while (await vm.isFrozen()) await sleep(200);
  return (Date.now() - (cutAt() ?? 0)) / 1000;
}
