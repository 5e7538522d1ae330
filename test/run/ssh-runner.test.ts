// The runner for hosts, against a real sshd on loopback.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { CommandError, ConnectionError, InterruptedError } from '../../lib/report/errors.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import { quiet } from '../support/nbd-servers.ts';
import { connectionsTo, useSshd, type Connected } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

let sshd: TestSshd;
let restorePath: () => void;
let host: Connected;

beforeAll(async () => {
  sshd = await startSshd();
  restorePath = useSshd(sshd);
});

afterAll(async () => {
  restorePath();
  await sshd.stop();
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

async function failure(work: Promise<unknown>): Promise<CommandError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CommandError);
  return error as CommandError;
}

describe('running a program on a host', () => {
  test('running a program on a host returns its output byte for byte', async () => {
    const { stdout } = await host.runner.run(sh('printf "a\\377\\n"'));
    expect([...stdout]).toEqual([0x61, 0xff, 0x0a]);
  });

  test('running a program on a host gives arguments to the program as they are', async () => {
    const args = ['%s\\0', '$(id) `id` "\'', 'a\nb\n', '', '-n', '!!', '\\', "'\n'", 'ü'];
    const { stdout } = await host.runner.run({ program: 'printf', args });
    expect(stdout.toString().split('\0').slice(0, -1)).toEqual(args.slice(1));
  });

  test('running a program on a host gives it its stdin, and an empty one when there is no input', async () => {
    const input = Buffer.from('line\n\0\xff', 'latin1');
    expect((await host.runner.run({ program: 'cat', args: [] }, { input })).stdout).toEqual(input);
    expect((await host.runner.run({ program: 'cat', args: [] })).stdout.length).toBe(0);
  });

  test('running a program on a host gives it its environment, messages in English and the folders of admin tools', async () => {
    const { stdout } = await host.runner.run({
      ...sh('printf "%s|%s|%s" "$ONE" "$LC_ALL" "$PATH"'),
      env: { ONE: "it's\n$HOME" },
    });
    const [one, locale, path] = stdout.toString().split('|');
    expect([one, locale]).toEqual(["it's\n$HOME", 'C']);
    expect(path?.split(':')).toEqual(expect.arrayContaining(['/usr/sbin', '/sbin']));
  });

  test("a program on a host that fails is reported with what was being done, the host, and the program's own last words", async () => {
    const error = await failure(
      host.runner.run(sh('echo early >&2; echo no such disk >&2; exit 3'), {
        doing: 'read disk.0',
      }),
    );
    expect(error.message).toBe(`cannot read disk.0 on ${sshd.host}: sh: early\nno such disk`);
    expect(error.status).toBe(3);
  });

  test("a program's status 255 on a host is told from a failure of ssh", async () => {
    const error = await failure(host.runner.run(sh('exit 255')));
    expect(error).not.toBeInstanceOf(ConnectionError);
    expect(error.status).toBe(255);
    expect((await host.runner.run(sh('exit 255'), { acceptStatus: [255] })).status).toBe(255);
  });

  test('running a program on a host says that a program is not installed', async () => {
    const error = await failure(host.runner.run({ program: 'no-such-program', args: [] }));
    expect(error.message).toContain('no-such-program: is not installed');
    const started = await failure(host.runner.start({ program: 'no-such-program', args: [] }));
    expect(started.message).toBe(`cannot start no-such-program on ${sshd.host}: is not installed`);
  });

  test('running a program on a host ends a program that takes too long', async () => {
    const error = await failure(host.runner.run(sh('sleep 7654'), { timeoutMs: 500 }));
    expect(error.message).toContain('gave no answer within 0.5 s');
    expect(await running('sleep 7654')).toBe(false);
  });

  test('running a program on a host ends a program that says too much', async () => {
    const error = await failure(host.runner.run(sh('yes'), { maxOutput: 1000 }));
    expect(error.message).toContain('printed more than expected');
  });

  test('running a program on a host ends a program when its signal is aborted', async () => {
    const controller = new AbortController();
    const work = host.runnerWith(controller.signal).run(sh('sleep 7655'));
    setTimeout(() => controller.abort(new InterruptedError('SIGINT')), 500);
    await expect(work).rejects.toThrow('interrupted by SIGINT');
    expect(await running('sleep 7655')).toBe(false);
  });

  test('running a program on a host stops a service and tells its last words', async () => {
    const service = await host.runner.start(sh('echo listening >&2; exec sleep 7656'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await running('sleep 7656')).toBe(true);
    await service.stop();
    expect(await running('sleep 7656')).toBe(false);
    expect((await service.ended).stderr).toBe('listening');
  });

  test('running a program on a host pipes data through a program while it runs', async () => {
    const service = await host.runner.startPiped(sh('tr a-z A-Z; echo done >&2'));
    service.stdin.end('some bytes');
    expect(Buffer.concat(await service.stdout.toArray()).toString()).toBe('SOME BYTES');
    expect(await service.ended).toEqual({ status: 0, stderr: 'done' });
  });

  test('running a program on a host stops a program that nobody reads from any more', async () => {
    const service = await host.runner.startPiped(sh('exec yes 7657'));
    await service.stop();
    expect(await running('yes 7657')).toBe(false);
    expect((await service.ended).status).not.toBe(0);
  });

  test('running a program on a host carries many megabytes each way unchanged', async () => {
    const service = await host.runner.startPiped({ program: 'sha256sum', args: [] });
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    for (let count = 0; count < 32; count++) {
      await new Promise((resolve) => service.stdin.write(chunk, resolve));
    }
    service.stdin.end();
    const sum = Buffer.concat(await service.stdout.toArray()).toString();
    const zeros = await host.runner.startPiped(
      sh('yes x | tr -d "\\n" | head -c 33554432 | tee /dev/stderr 2>/dev/null'),
    );
    zeros.stdin.end();
    const { stdout } = await host.runner.run(
      { program: 'sha256sum', args: [] },
      { input: Buffer.concat(await zeros.stdout.toArray()) },
    );
    expect(stdout.toString()).toBe(sum);
  });
});

/** Whether a process with this command line runs. */
async function running(line: string): Promise<boolean> {
  const { stdout } = await localRunner(quiet).run(sh('ps -eo args'));
  return stdout.toString().split('\n').includes(line);
}
