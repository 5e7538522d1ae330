// What becomes of programs on a host when the connection to it ends in a way it should not.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { ConnectionError } from '../../lib/report/errors.ts';
import { connectionsTo, processesWith, useSshd, type Connected } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';
import { until } from '../support/limits.ts';

describe.each([
  ['by the login shell', undefined],
  ['by a command that the key is bound to', 'bash -c "$SSH_ORIGINAL_COMMAND"; exit $?'],
])('run %s', (_, shell) => {
  let sshd: TestSshd;
  let restorePath: () => void;
  let host: Connected;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onevmdump-lost-'));
    sshd = await startSshd(shell === undefined ? {} : { shell });
    restorePath = useSshd(sshd);
  });

  afterAll(async () => {
    restorePath();
    await sshd.stop();
    await rm(folder, { recursive: true });
  });

  beforeEach(() => {
    host = connectionsTo(sshd.host);
  });

  afterEach(async () => {
    await host.close();
  });

  const sh = (script: string, ...args: string[]) => ({
    program: 'sh',
    args: ['-c', script, 'sh', ...args],
  });

  /** sshd's processes for connections: children of the listening one, and theirs. */
  async function sshdSessions(): Promise<number[]> {
    const children = async (pid: number): Promise<number[]> => {
      const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
      return text.trim().split(' ').filter(Boolean).map(Number);
    };
    const first = await children(sshd.pid);
    const second = (await Promise.all(first.map(children))).flat();
    const all: number[] = [];
    for (const pid of [...first, ...second]) {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (line.startsWith('sshd')) all.push(pid);
    }
    return all;
  }

  const gone = (word: string) =>
    until(`${word} has ended`, async () => (await processesWith(word)).length === 0);

  const cuts: readonly (readonly [string, () => Promise<void>])[] = [
    [
      'our ssh is killed',
      async () => {
        const masters = await processesWith(`${host.folder()}/`, 'ServerAlive');
        expect(masters).toHaveLength(1);
        for (const pid of masters) process.kill(pid, 'SIGKILL');
      },
    ],
    [
      "sshd's process for it is killed",
      async () => {
        const sessions = await sshdSessions();
        expect(sessions.length).toBeGreaterThan(0);
        for (const pid of sessions) process.kill(pid, 'SIGKILL');
      },
    ],
  ];

  describe.each(cuts)('when %s', (cutName, cut) => {
    test(`when ${cutName}, a program on the host ends within seconds, with its children`, async () => {
      const work = host.runner.run(sh('sleep 8801 & sleep 8802; true'));
      const failed = expect(work).rejects.toBeInstanceOf(ConnectionError);
      while ((await processesWith('8802', 'sleep\0')).length === 0) await sleep(20);
      await cut();
      await failed;
      await gone('sleep\x008801');
      await gone('sleep\x008802');
    });

    test(`when ${cutName}, a program that writes to nobody ends, too`, async () => {
      const service = await host.runner.startPiped({ program: 'yes', args: ['8803'] });
      await cut();
      expect((await service.ended).stderr).toContain(`the connection to ${sshd.host}`);
      await gone('yes\x008803');
      service.stdout.destroy();
    });

    test(`when ${cutName}, a program on the host that ends by itself does what it has to do, and then ends`, async () => {
      const proof = join(folder, `proof-${Date.now()}`);
      await host.runner.start({
        ...sh(
          'while read -r a b c parent e <"/proc/$$/stat" && [ "$parent" = "$PPID" ]; do sleep 0.2; done; echo done >"$1"',
          proof,
        ),
        endsByItself: true,
      });
      // A shell that starts after its parent's end takes another process for its parent.
      await sleep(1000);
      await cut();
      let text = '';
      for (let tries = 0; text === '' && tries < 100; tries++) {
        await sleep(100);
        text = await readFile(proof, 'utf8').catch(() => '');
      }
      expect(text).toBe('done\n');
      await gone(proof);
    });

    test(`when ${cutName}, the next program makes a new connection, and a warning says why`, async () => {
      await host.runner.run({ program: 'true', args: [] });
      await cut();
      await sleep(500);
      await host.runner.run({ program: 'true', args: [] });
      expect(host.warnings).toEqual([
        expect.stringMatching(/the connection to .* was lost: .*; connecting again/) as unknown,
      ]);
    });
  });

  test('when this process is killed, programs on the host and the connection end within seconds', async () => {
    const program = join(folder, 'killed.mjs');
    await build({
      stdin: {
        contents: `
        import { createLog } from './lib/report/log.ts';
        import { SshConnections } from './lib/run/ssh-connections.ts';
        const log = createLog({ script: 'test', debug: false, write: () => undefined });
        const connections = new SshConnections({ log, record: async (undo) => console.log(undo.path ?? '') });
        const runner = connections.runner({ host: ${JSON.stringify(sshd.host)} });
        await runner.start({ program: 'sleep', args: ['8804'] });
        process.kill(process.pid, 'SIGKILL');
      `,
        resolveDir: new URL('../..', import.meta.url).pathname,
      },
      ...{ bundle: true, platform: 'node', format: 'esm', outfile: program, logLevel: 'error' },
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire('/');",
      },
    });
    const child = spawn(process.execPath, [program], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: process.env,
    });
    let printed = '';
    child.stdout.on('data', (data: Buffer) => {
      printed += data.toString();
    });
    await once(child, 'close');
    expect(child.signalCode).toBe('SIGKILL');
    const sockets = printed.trim();
    expect(sockets).toMatch(/^\/tmp\/onevmdump-/);
    await gone('sleep\x008804');
    await gone(`${sockets}/`);
    expect(await sshdSessions()).toEqual([]);
    await rm(sockets, { recursive: true });
  });

  test('a program on a host that does not answer any more is given up after its time', async () => {
    await host.runner.run({ program: 'true', args: [] });
    const sessions = await sshdSessions();
    for (const pid of sessions) process.kill(pid, 'SIGSTOP');
    try {
      await expect(
        host.runner.run({ program: 'true', args: [] }, { timeoutMs: 1000 }),
      ).rejects.toThrow('gave no answer within 1 s');
    } finally {
      for (const pid of sessions) process.kill(pid, 'SIGCONT');
    }
  });

  test('a program that is given up because its host does not answer any more says so', async () => {
    await host.runner.run({ program: 'true', args: [] });
    for (const pid of await sshdSessions()) process.kill(pid, 'SIGSTOP');
    try {
      const failed = expect(
        host.runner.run({ program: 'true', args: [] }, { timeoutMs: 500 }),
      ).rejects.toBeInstanceOf(ConnectionError);
      await sleep(1000);
      await host.cut();
      await failed;
    } finally {
      for (const pid of await sshdSessions()) process.kill(pid, 'SIGCONT');
    }
  });

  test('what a connection that hangs has left on its host ends as soon as there is a new one', async () => {
    const service = await host.runner.start(sh('sleep 8805; true'));
    while ((await processesWith('8805', 'sleep\0')).length === 0) await sleep(20);
    const sessions = await sshdSessions();
    expect(sessions.length).toBeGreaterThan(0);
    for (const pid of sessions) process.kill(pid, 'SIGSTOP');
    try {
      await host.cut();
      await service.ended;
      expect(await processesWith('8805', 'sleep\0')).toHaveLength(1);
      await host.runner.run({ program: 'true', args: [] });
      await gone('sleep\x008805');
      for (const pid of await sshdSessions()) expect(sessions).not.toContain(pid);
    } finally {
      for (const pid of await sshdSessions()) process.kill(pid, 'SIGCONT');
    }
  });

  describe('a forwarded socket', () => {
    test('a forwarded socket that is wanted when the connection has just been lost says so, or gets a new one', async () => {
      await host.runner.run({ program: 'true', args: [] });
      await host.cut();
      const forwarded = host.runner.forwardSocket(join(folder, 'no'));
      const answer = await forwarded.then(({ path }) => path).catch(String);
      expect(answer).toMatch(/the connection to .* was lost|^\/tmp\/onevmdump-/);
    });

    test('a forwarded socket that leads nowhere any more says why', async () => {
      const forwarded = await host.runner.forwardSocket(join(folder, 'no'));
      expect(await forwarded.lost()).toBeUndefined();
      await host.cut();
      expect(await forwarded.lost()).toBeInstanceOf(ConnectionError);
    });

    test.each(['plain', 'a b \'c\' "d" :e\\f $(g)'])(
      'a forwarded socket leads to the one on the host: %s',
      async (name) => {
        const path = join(folder, name);
        const server = createServer((socket) => socket.pipe(socket)).listen(path);
        await once(server, 'listening');
        try {
          const forwarded = await host.runner.forwardSocket(path);
          const socket = connect(forwarded.path);
          socket.write('hello');
          const [data] = (await once(socket, 'data')) as [Buffer];
          expect(data.toString()).toBe('hello');
          socket.destroy();
        } finally {
          server.close();
        }
      },
    );
  });
});
