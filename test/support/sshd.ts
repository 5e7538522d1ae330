// A real sshd on loopback, as an ordinary process with files of its own, and an `ssh` on PATH that finds it.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sh } from './shell.ts';

export interface TestSshd {
  /** What to connect to. */
  readonly host: string;
  readonly folder: string;
  readonly port: number;
  /** The listening process. */
  readonly pid: number;
  /** First on PATH: its `ssh` reads the configuration of this sshd. */
  readonly bin: string;
  /** Lines that the host's ssh configuration gets, such as another key. */
  configure(lines: string): Promise<void>;
  stop(): Promise<void>;
}

export interface SshdOptions {
  /** More lines for sshd_config. */
  readonly sshd?: string;
  /** The home folder that logins get; without it an empty one, as a user's own may be slow or talk. */
  readonly home?: string;
  /** What a login runs instead of the user's shell; gets the command line in $SSH_ORIGINAL_COMMAND. */
  readonly shell?: string;
}

export async function startSshd({ sshd = '', shell, home }: SshdOptions = {}): Promise<TestSshd> {
  const folder = await mkdtemp(join(tmpdir(), 'onevmdump-sshd-'));
  const bin = join(folder, 'bin');
  await mkdir(bin);
  // sshd reads the key as the account that logs in.
  await chmod(folder, 0o755);
  const key = join(folder, 'key');
  const hostKey = join(folder, 'host-key');
  for (const path of [key, hostKey])
    await sh('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', path);
  const publicKey = await readFile(`${key}.pub`, 'utf8');
  const login = join(folder, 'login');
  if (shell !== undefined) await writeFile(login, `#!/bin/bash\n${shell}\n`, { mode: 0o755 });
  await writeFile(
    join(folder, 'authorized_keys'),
    shell === undefined ? publicKey : `command="${login}" ${publicKey}`,
  );
  const port = await freePort();
  await writeFile(
    join(folder, 'sshd_config'),
    `Port ${port}
ListenAddress 127.0.0.1
HostKey ${hostKey}
AuthorizedKeysFile ${folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
SetEnv HOME=${home ?? folder}
${sshd}
`,
  );
  const hostPublicKey = await readFile(`${hostKey}.pub`, 'utf8');
  await writeFile(join(folder, 'known_hosts'), `[127.0.0.1]:${port} ${hostPublicKey}`);
  const host = `host-${port}`;
  const configure = (lines: string): Promise<void> =>
    writeFile(
      join(folder, 'ssh_config'),
      `${lines}
Host ${host}
  HostName 127.0.0.1
  Port ${port}
  User ${userInfo().username}
  IdentityFile ${key}
  IdentitiesOnly yes
  UserKnownHostsFile ${folder}/known_hosts
  StrictHostKeyChecking yes
`,
    );
  await configure('');
  const real = (await sh('bash', '-c', 'type -P ssh')).trim();
  await writeFile(join(bin, 'ssh'), `#!/bin/sh\nexec ${real} -F '${folder}/ssh_config' "$@"\n`);
  await chmod(join(bin, 'ssh'), 0o755);
  // Debian's makes it when the service is started.
  if (userInfo().uid === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const path = (await sh('bash', '-c', 'PATH=$PATH:/usr/sbin:/sbin; type -P sshd')).trim();
  const child = spawn(path, ['-D', '-e', '-f', join(folder, 'sshd_config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await listening(child);
  return {
    ...{ host, folder, port, bin, configure, pid: child.pid ?? 0 },
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function listening(child: ChildProcess): Promise<void> {
  let said = '';
  child.stderr?.on('data', (data: Buffer) => {
    said += data.toString();
  });
  for (let tries = 0; !said.includes('Server listening'); tries++) {
    if (tries > 500 || child.exitCode !== null) throw new Error(`sshd does not start: ${said}`);
    await sleep(20);
  }
}
