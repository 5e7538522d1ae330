// Hosts whose login shell is not bash, whose profile talks, and whose PATH is short.
import { afterAll, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { ConnectionError } from '../../lib/report/errors.ts';
import type { Runner } from '../../lib/run/runner.ts';
import { connectionsTo, useSshd } from '../support/ssh-support.ts';
import { startSshd, type SshdOptions } from '../support/sshd.ts';

const folders: string[] = [];

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function onHost(
  options: SshdOptions,
  body: (runner: Runner, host: string) => Promise<void>,
): Promise<void> {
  const sshd = await startSshd(options);
  const restore = useSshd(sshd);
  const host = connectionsTo(sshd.host);
  try {
    await body(host.runner, sshd.host);
  } finally {
    await host.close();
    restore();
    await sshd.stop();
  }
}

/** Hostile to one shell or another. */
const words = [
  "it's", '"', '$(touch canary)', '`touch canary`', '${HOME}', '$HOME', '!!', '!x', '\\', "\\'", '*',
  '~', '#', ';', '&', '|', '>canary', '\n', 'a\nb', "'\n'", '{a,b}', '(x)', '^', '%', '-n', '', ' ',
  '\t', 'ü€', '\\n', '\u0001', '\r',
]; // prettier-ignore

describe.each(['dash', 'bash', 'zsh', 'fish', 'tcsh'])('a login shell %s', (shell) => {
  // Debian's packages of these names; scripts/tools.sh installs them.
  const path = ['/bin', '/usr/bin'].map((one) => join(one, shell)).find((one) => existsSync(one));
  test(`the login shell ${shell} brings any arguments, environment and stdin through unchanged`, async () => {
    expect(path).toBeDefined();
    await onHost(
      { shell: `exec -a -${shell} ${path ?? ''} -c "$SSH_ORIGINAL_COMMAND"` },
      async (runner) => {
        const echoed = async (args: readonly string[]): Promise<string[]> => {
          const { stdout } = await runner.run({ program: 'printf', args: ['%s\\0', ...args] });
          return stdout.toString().split('\0').slice(0, -1);
        };
        expect(await echoed(words)).toEqual(words);
        const { stdout } = await runner.run(
          { program: 'sh', args: ['-c', 'printf %s "$ONE"; cat'], env: { ONE: words.join('') } },
          { input: words.join('') },
        );
        expect(stdout.toString()).toBe(words.join('') + words.join(''));
        const word = fc
          .string({ unit: 'grapheme', maxLength: 30 })
          .map((text) => text.replaceAll('\0', ''));
        await fc.assert(
          fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 6 }), async (args) => {
            expect(await echoed(args)).toEqual(args);
          }),
          { numRuns: 10 },
        );
      },
    );
  });
});

test('what a profile of a login shell prints on stdout and stderr is not taken for a program’s', async () => {
  const home = await mkdtemp(join(tmpdir(), 'onevmdump-home-'));
  folders.push(home);
  const rc = 'echo "Welcome to the host"; seq 30000; echo "warning: disk full" >&2; printf half\n';
  await writeFile(join(home, '.bashrc'), rc);
  await onHost(
    { home, shell: `. '${home}/.bashrc'; exec bash -c "$SSH_ORIGINAL_COMMAND"` },
    async (runner) => {
      const output = await runner.run({ program: 'sh', args: ['-c', 'echo out; echo err >&2'] });
      expect(output).toEqual({ status: 0, stdout: Buffer.from('out\n'), stderr: 'err\n' });
      const stream = await runner.startPiped({ program: 'cat', args: [] });
      stream.stdin.end('data');
      expect(Buffer.concat(await stream.stdout.toArray()).toString()).toBe('data');
      expect(await stream.ended).toEqual({ status: 0, stderr: '' });
    },
  );
});

test('a PATH of a login shell without the folders of admin tools gets them', async () => {
  await onHost(
    { shell: 'PATH=/usr/bin:/bin; export PATH; exec bash --norc -c "$SSH_ORIGINAL_COMMAND"' },
    async (runner) => {
      const { stdout } = await runner.run({ program: 'sh', args: ['-c', 'echo "$PATH"'] });
      expect(stdout.toString()).toBe('/usr/bin:/bin:/usr/sbin:/sbin\n');
    },
  );
});

test('a login by ssh that runs something else is refused with what it said', async () => {
  await onHost({ shell: 'echo This account is not available.; exit 1' }, async (runner, host) => {
    const failed = runner.run({ program: 'true', args: [] });
    await expect(failed).rejects.toBeInstanceOf(ConnectionError);
    await expect(failed).rejects.toThrow(
      `cannot connect to ${host}: This account is not available.`,
    );
  });
});

describe("ssh's own failures are told in words that help", () => {
  const reason = async (lines: string, options: SshdOptions = {}): Promise<string> => {
    const sshd = await startSshd(options);
    const restore = useSshd(sshd);
    await sshd.configure(`Host ${sshd.host}\n${lines}`);
    const host = connectionsTo(sshd.host);
    try {
      await host.runner.run({ program: 'true', args: [] });
      return 'it worked';
    } catch (error) {
      expect(error).toBeInstanceOf(ConnectionError);
      return (error as Error).message.replaceAll(sshd.host, 'HOST');
    } finally {
      await host.close();
      restore();
      await sshd.stop();
    }
  };

  test.each([
    ['an unknown host key', 'UserKnownHostsFile /dev/null', 'its host key is not known; log in once by hand and check it: ssh HOST'],
    ['a refused login', 'IdentityFile /dev/null\nPubkeyAuthentication no', 'it refuses the login; this has to work without a password: ssh -o BatchMode=yes HOST true'],
    ['a name nobody knows', 'HostName no-such-host.invalid', 'its name cannot be resolved'],
    ['a port without sshd', 'Port 1', 'nothing listens there (connection refused)'],
  ])('a failure of ssh is reported in words that help: %s', async (_, lines, text) => {
    expect(await reason(lines)).toBe(`cannot connect to HOST: ${text}`);
  }); // prettier-ignore

  test('a failure of ssh is reported in words that help: a changed host key', async () => {
    const other = await startSshd();
    try {
      const known = join(other.folder, 'changed');
      const [, ...key] = (await readFile(join(other.folder, 'known_hosts'), 'utf8')).split(' ');
      await writeFile(known, `alias ${key.join(' ')}`);
      expect(await reason(`HostKeyAlias alias\nUserKnownHostsFile ${known}`)).toContain(
        'its host key is not the one in known_hosts',
      );
    } finally {
      await other.stop();
    }
  });

  test('a failure of ssh is reported in words that help: too few sessions', async () => {
    await onHost({ sshd: 'MaxSessions 1' }, async (runner) => {
      await expect(runner.run({ program: 'true', args: [] })).rejects.toThrow('MaxSessions');
    });
  });
});
