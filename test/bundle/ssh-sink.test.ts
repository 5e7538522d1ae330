// Bundles written on another machine, against a real sshd on loopback.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BundleSink } from '../../lib/bundle/sink.ts';
import { createSshSink } from '../../lib/bundle/location/ssh-sink.ts';
import type { Command, Runner } from '../../lib/run/runner.ts';
import { removeUnfinished } from '../../lib/bundle/location/host-file.ts';
import { partName } from '../../lib/vm/names.ts';
import { connectionsTo, useSshd, type Connected } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

let sshd: TestSshd;
let restorePath: () => void;
let host: Connected;
let folder: string;
let file: { readonly part: string; readonly path: string };

beforeAll(async () => {
  sshd = await startSshd();
  restorePath = useSshd(sshd);
});

afterAll(async () => {
  restorePath();
  await sshd.stop();
});

beforeEach(async () => {
  host = connectionsTo(sshd.host);
  folder = await mkdtemp(join(tmpdir(), "onevmdump-sink 'x' $(y)-"));
  const path = join(folder, 'a bundle');
  file = { part: partName(path), path };
});

afterEach(async () => {
  await host.close();
  await rm(folder, { recursive: true });
});

const name = 'host:/a bundle';
const open = (runner: Runner = host.runner, signal = new AbortController().signal) =>
  createSshSink(runner, file, { name, signal });

async function write(sink: BundleSink, megabytes = 3): Promise<void> {
  for (let count = 0; count < megabytes; count++) {
    await sink.write(Buffer.alloc(1024 * 1024, String(count)));
  }
}

/** The host's runner, which does something before or after the command that has this in its script. */
function when(
  text: string,
  act: { before?: () => unknown; after?: () => unknown },
  runner = host.runner,
): Runner {
  return {
    where: runner.where,
    target: runner.target,
    start: (command) => runner.start(command),
    startPiped: (command) => runner.startPiped(command),
    forwardSocket: (path) => runner.forwardSocket(path),
    async run(command: Command, options) {
      const here = command.args[1]?.includes(text) === true;
      if (here) await act.before?.();
      const output = await runner.run(command, options);
      if (here) await act.after?.();
      return output;
    },
  };
}

async function emptyWithin(seconds: number): Promise<boolean> {
  for (let tries = 0; tries < seconds * 10; tries++) {
    if ((await readdir(folder)).length === 0) return true;
    await sleep(100);
  }
  return false;
}

describe('a bundle on another machine', () => {
  test('a bundle that is written on another machine has its name and all its bytes after the commit, for its owner alone', async () => {
    const sink = await open();
    await write(sink);
    expect(await readdir(folder)).toEqual([basename(file.part)]);
    await sink.commit();
    await sink.discard();
    expect(await readdir(folder)).toEqual(['a bundle']);
    expect((await stat(file.path)).mode & 0o777).toBe(0o600);
    const bytes = await readFile(file.path);
    expect(bytes.length).toBe(3 * 1024 * 1024);
    expect([bytes[0], bytes.at(-1)]).toEqual([0x30, 0x32]);
  });

  test('a bundle that is written on another machine that is discarded leaves nothing', async () => {
    const sink = await open();
    await write(sink);
    await sink.discard();
    await sink.discard();
    expect(await readdir(folder)).toEqual([]);
  });

  test('a bundle that is written on another machine never replaces a file that has appeared in the meantime', async () => {
    const sink = await open();
    await write(sink);
    await writeFile(file.path, 'theirs');
    await expect(sink.commit()).rejects.toThrow('a file of this name has appeared in the meantime');
    await sink.discard();
    expect(await readdir(folder)).toEqual(['a bundle']);
    expect(await readFile(file.path, 'utf8')).toBe('theirs');
  });

  test('a bundle that is written on another machine is not written into a part file of somebody else', async () => {
    await writeFile(file.part, 'theirs');
    const sink = await open();
    await expect(write(sink, 40).then(() => sink.commit())).rejects.toThrow(/cannot write host:/);
    expect(await readFile(file.part, 'utf8')).toBe('theirs');
  });

  test('a bundle that is written on another machine is refused when another export is writing it, and what that has written stays', async () => {
    const first = await open();
    await write(first);
    const second = await createSshSink(
      host.runner,
      { part: partName(file.path), path: file.path },
      { name, signal: new AbortController().signal },
    );
    await expect(write(second, 40).then(() => second.commit())).rejects.toThrow(
      `${file.part} exists: another export may be writing it`,
    );
    await second.discard();
    expect(await readdir(folder)).toEqual([basename(file.part)]);
    await first.commit();
    expect((await stat(file.path)).size).toBe(3 * 1024 * 1024);
  });

  test("a bundle that is written on another machine is refused with the host's own words where it cannot be written", async () => {
    const inNowhere = { part: '/dev/full/x.part', path: '/dev/full/x' };
    const sink = await createSshSink(host.runner, inNowhere, {
      name,
      signal: new AbortController().signal,
    });
    await expect(write(sink, 40).then(() => sink.commit())).rejects.toThrow(
      /cannot create .*: Directory nonexistent|Not a directory/,
    );
    await sink.discard();
  });

  test('a bundle that is written on another machine ends at once when its signal is aborted', async () => {
    const controller = new AbortController();
    const sink = await open(host.runner, controller.signal);
    await write(sink, 1);
    controller.abort(new Error('stopped'));
    await expect(write(sink, 200)).rejects.toThrow('stopped');
    await sink.discard();
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('when it is interrupted', () => {
  /** The sink of a bundle whose export is interrupted around the command that has this in its script. */
  async function interrupted(text: string, place: 'before' | 'after'): Promise<BundleSink> {
    const { signal, stop } = interruption();
    const sink = await open(when(text, { [place]: stop }, host.runnerWith(signal)), signal);
    await write(sink);
    return sink;
  }

  function interruption(): { signal: AbortSignal; stop: () => void } {
    const controller = new AbortController();
    const stop = (): void => controller.abort(new Error('stopped'));
    return { signal: controller.signal, stop };
  }

  test.each([
    ['before it gets', 'before'],
    ['when it has just got', 'after'],
  ] as const)(
    'an export to another machine that is interrupted %s its bundle gets its name leaves nothing there',
    async (_, place) => {
      const sink = await interrupted('ln -T', place);
      await expect(sink.commit()).rejects.toThrow('stopped');
      await sink.discard();
      await removeUnfinished(host.runner, file);
      expect(await readdir(folder)).toEqual([]);
    },
  );

  test('an export to another machine that is interrupted while its bundle is finished completes it, since nobody would know of a half done one', async () => {
    const sink = await interrupted('stat -c', 'before');
    await sink.commit();
    await sink.discard();
    expect(await readdir(folder)).toEqual(['a bundle']);
  });
});

test('a bundle on another machine that somebody else has written into is not finished', async () => {
  const sink = await open(when('stat -c', { before: () => appendFile(file.path, 'x') }));
  await write(sink);
  await expect(sink.commit()).rejects.toThrow(
    'it has 3145729 bytes instead of 3145728; another program has changed it',
  );
  await sink.discard();
  expect(await readdir(folder)).toEqual([]);
});

describe('when the connection is lost', () => {
  test('when the connection is lost while a bundle is written, the host removes it by itself', async () => {
    const sink = await open();
    await write(sink);
    await host.cut();
    await expect(write(sink, 200)).rejects.toThrow(/the connection to .* was lost/);
    expect(await emptyWithin(10)).toBe(true);
    await sink.discard();
  });

  test('when the connection is lost before a bundle gets its name, nothing is left', async () => {
    const sink = await open(when('ln -T', { before: () => host.cut() }));
    await write(sink);
    await expect(sink.commit()).rejects.toThrow();
    await sink.discard();
    expect(await emptyWithin(10)).toBe(true);
  });

  test('when the connection is lost after a bundle got its name, the bundle is either finished or removed', async () => {
    const sink = await open(when('ln -T', { after: () => host.cut() }));
    await write(sink);
    const committed = await sink.commit().then(
      () => true,
      () => false,
    );
    await sink.discard();
    await sleep(4000);
    expect(await readdir(folder)).toEqual(committed ? ['a bundle'] : []);
  });

  test('when the connection is lost and the host does not answer any more, the undo removes a bundle that has its name but is not finished', async () => {
    await writeFile(file.part, 'bytes');
    await host.runner.run({ program: 'ln', args: [file.part, file.path] });
    await removeUnfinished(host.runner, file);
    expect(await readdir(folder)).toEqual([]);
  });

  test('the undo of a bundle on another machine leaves a finished bundle alone', async () => {
    await writeFile(file.path, 'bytes');
    await removeUnfinished(host.runner, file);
    expect(await readdir(folder)).toEqual(['a bundle']);
  });
});
