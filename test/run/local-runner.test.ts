import { describe, expect, test } from '@jest/globals';
import { CommandError, InterruptedError } from '../../lib/report/errors.ts';
import { createLog } from '../../lib/report/log.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import { stateOf, identify } from '../../lib/run/process-identity.ts';

const log = createLog({ script: 'test', debug: false, write: () => undefined });
const runner = localRunner(log);
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

describe('running a program on this machine', () => {
  test('running a program on this machine returns its output byte for byte', async () => {
    const { stdout } = await runner.run(sh('printf "a\\377\\n"'));
    expect([...stdout]).toEqual([0x61, 0xff, 0x0a]);
  });

  test('running a program on this machine gives arguments to the program as they are, without a shell', async () => {
    const { stdout } = await runner.run({ program: 'printf', args: ['%s', '$(id) `id` "\''] });
    expect(stdout.toString()).toBe('$(id) `id` "\'');
  });

  test('running a program on this machine gives an empty stdin when there is no input', async () => {
    expect((await runner.run({ program: 'cat', args: [] })).stdout.length).toBe(0);
  });

  test("a program on this machine that fails is reported with what was being done and the program's own last words", async () => {
    const error = await failure(
      runner.run(sh('echo early >&2; echo no such disk >&2; exit 3'), { doing: 'read disk.0' }),
    );
    expect(error.message).toBe('cannot read disk.0: sh: early\nno such disk');
    expect(error.status).toBe(3);
  });

  test('running a program on this machine accepts an exit status that is an answer', async () => {
    expect((await runner.run(sh('exit 1'), { acceptStatus: [1] })).status).toBe(1);
  });

  test('running a program on this machine says that a program is not installed', async () => {
    const error = await failure(runner.run({ program: 'no-such-program', args: [] }));
    expect(error.message).toContain('no-such-program: is not installed');
  });

  test('running a program on this machine ends a program that takes too long', async () => {
    const error = await failure(runner.run(sh('sleep 60'), { timeoutMs: 100 }));
    expect(error.message).toContain('gave no answer within 0.1 s');
  });

  test('running a program on this machine ends a program when its signal is aborted, but for a step that must not be left half done', async () => {
    const controller = new AbortController();
    const interrupted = localRunner(log, controller.signal);
    const works = [{}, { uninterrupted: true }].map((options) =>
      interrupted.run(sh('sleep 1; echo done'), options),
    );
    setTimeout(() => controller.abort(new InterruptedError('SIGINT')), 200);
    const [ended, made] = await Promise.allSettled(works);
    expect(ended).toMatchObject({ reason: expect.any(InterruptedError) as unknown });
    expect(made).toMatchObject({ value: { stdout: Buffer.from('done\n') } });
  });

  test('running a program on this machine ends a program that says too much', async () => {
    const error = await failure(runner.run(sh('yes'), { maxOutput: 1000 }));
    expect(error.message).toContain('printed more than expected');
  });

  test('running a program on this machine does not count what it says on stderr', async () => {
    const script = 'echo a long complaint >&2; exit 1';
    const error = await failure(runner.run(sh(script), { maxOutput: 1 }));
    expect(error.message).toContain('a long complaint');
  });

  test('running a program on this machine stops a service and tells its last words', async () => {
    const service = await runner.start(sh('echo listening >&2; exec sleep 60'));
    const identity = await identify(service.pid);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await service.stop();
    expect(await stateOf(identity)).toBe('ended');
    expect((await service.ended).stderr).toBe('listening');
  });

  test('running a program on this machine pipes data through a program while it runs', async () => {
    const service = await runner.startPiped(sh('tr a-z A-Z; echo done >&2'));
    service.stdin.end('some bytes');
    expect(Buffer.concat(await service.stdout.toArray()).toString()).toBe('SOME BYTES');
    expect(await service.ended).toEqual({ status: 0, stderr: 'done' });
  });

  test('running a program on this machine stops a program that nobody reads from any more', async () => {
    const service = await runner.startPiped({ program: 'yes', args: [] });
    await service.stop();
    expect((await service.ended).status).not.toBe(0);
  });

  test('running a program on this machine says that a service is not installed', async () => {
    const error = await failure(runner.start({ program: 'no-such-program', args: [] }));
    expect(error.message).toBe('cannot start no-such-program: is not installed');
  });
});
