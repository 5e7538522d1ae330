// Accounts for as long as a test needs them.
import { readdir, readFile } from 'node:fs/promises';
import { sh } from '../support/shell.ts';
import { runProgram } from './program.ts';

const prefix = 'onevmdump-lab-';

export interface Account {
  readonly name: string;
  /** `UID:GID` */
  readonly owner: string;
  /** What of its runs but QEMU, whose guests are the lab's. */
  processes(): Promise<string[]>;
  remove(): Promise<void>;
}

/**
 * Makes an account that can log in by a key only. Its name has this process's id, as others may test at the same
 * time; accounts that dead ones have left are removed.
 */
export async function makeAccount(role: 'host' | 'store'): Promise<Account> {
  await removeLeftOver();
  const name = `${prefix}${role}-${process.pid}`;
  // No password, but not locked: sshd would refuse that.
  const options = ['--password', '*', '--no-create-home', '--home-dir', '/nonexistent'];
  await runProgram('useradd', [...options, '--shell', '/bin/sh', name], { acceptStatus: [9] });
  const [uid, gid] = await Promise.all([sh('id', '-u', name), sh('id', '-g', name)]);
  return {
    name,
    owner: `${uid.trim()}:${gid.trim()}`,
    async processes() {
      const lines = await runProgram('ps', ['-ww', '-o', 'args=', '-u', name], {
        acceptStatus: [1],
      });
      return lines.split('\n').filter((line) => line !== '' && !line.includes('qemu-system'));
    },
    async remove() {
      // Its last processes take a moment to end.
      const tries = `for i in {1..50}; do userdel ${name} 2>/dev/null && exit; sleep 0.2; done; userdel ${name}`;
      await runProgram('bash', ['-c', tries]);
    },
  };
}

async function removeLeftOver(): Promise<void> {
  const processes = await readdir('/proc');
  for (const line of (await readFile('/etc/passwd', 'utf8')).split('\n')) {
    const [name = ''] = line.split(':');
    if (!name.startsWith(prefix) || processes.includes(name.split('-').at(-1) ?? '')) continue;
    await runProgram('userdel', [name], { acceptStatus: [8] });
  }
}
