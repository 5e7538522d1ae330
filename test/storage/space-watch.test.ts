// The process that watches the free space, with a stand-in of virsh and a real file system.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRunningWith, stopProcesses } from '../../lib/run/processes.ts';
import { undoHandlers } from '../../lib/session/undo-handlers.ts';
import { spaceWatchName } from '../../lib/storage/job/names.ts';
import { watchSpace } from '../../lib/storage/job/space-watch.ts';
import { until } from '../support/limits.ts';
import { inWorld } from '../support/storage-world.ts';

// State is in files: `job` has the socket of the backup job, `state` what domstate says.
const virsh = `#!/bin/sh
here=\${0%/*}/..
shift 2
echo "$*" >>"$here/called"
case $1 in
  backup-dumpxml) [ -e "$here/job" ] && echo "<server transport='unix' socket='$(cat "$here/job")'/>" ;;
  domjobabort) rm "$here/job" ;;
  domstate) cat "$here/state" ;;
  resume) echo 'running (unpaused)' >"$here/state" ;;
esac`;

describe('the process that watches the free space for scratch files', () => {
  let folder = '';
  const path = process.env['PATH'] ?? '';
  const at = (name: string): string => join(folder, name);
  const called = (): string => (existsSync(at('called')) ? readFileSync(at('called'), 'utf8') : '');

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onevmdump-test-'));
    mkdirSync(at('bin'));
    writeFileSync(at('bin/virsh'), virsh);
    chmodSync(at('bin/virsh'), 0o755);
    writeFileSync(at('job'), at('sock'));
    writeFileSync(at('state'), 'running (booted)\n');
    writeFileSync(at('description'), '');
    process.env['PATH'] = `${at('bin')}:${path}`;
  });

  afterEach(() => {
    process.env['PATH'] = path;
    rmSync(folder, { recursive: true });
  });

  /** Watches the folder's file system, as long as `body` runs. */
  async function watching(
    lowWaterMark: number,
    body: (isWatched: () => Promise<boolean>, undo: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    await inWorld(async ({ run, undone }) => {
      const { runner } = run;
      const domain = { runner, uri: 'test:///default', name: 'one-7' };
      const files = { socket: at('sock'), description: at('description') };
      const name = spaceWatchName(randomUUID());
      await watchSpace({ name, domain, ...files, lowWaterMark }, run);
      expect(undone().map(({ kind }) => kind)).toEqual(['stop-space-watch']);
      try {
        const handlers = undoHandlers({
          log: run.log,
          answerMs: 0,
          connect: () => Promise.reject(new Error('OpenNebula is not needed')),
          runnerAt: () => runner,
        });
        const [recorded] = undone();
        await body(
          () => isRunningWith(runner, ['sh'], name),
          () => handlers.carryOut({ undo: recorded!, on: undefined }),
        );
      } finally {
        rmSync(at('description'), { force: true });
        await stopProcesses(runner, 'sh', name);
      }
    });
  }

  const everything = 2 ** 52;

  test('the process that watches the free space does nothing while there is enough, and ends when the job is over', () =>
    watching(1, async (isWatched) => {
      await sleep(1000);
      expect(called()).toBe('');
      expect(await isWatched()).toBe(true);
      rmSync(at('description'));
      await until('it has ended', async () => !(await isWatched()));
      expect(existsSync(at('job'))).toBe(true);
    }));

  test('the process that watches the free space ends our job when the space is low, and removes the description that says so', () =>
    watching(everything, async () => {
      await until('the job is over', () => !existsSync(at('job')));
      expect(existsSync(at('description'))).toBe(false);
      expect(called()).toContain('domjobabort one-7');
      expect(called()).not.toContain('resume');
    }));

  test('the process that watches the free space resumes a guest that QEMU has stopped for an I/O error', () => {
    writeFileSync(at('state'), 'paused (I/O error)\n');
    return watching(everything, async () => {
      await until('the guest runs', () => called().includes('resume one-7'));
      expect(called().indexOf('domjobabort')).toBeLessThan(called().indexOf('resume'));
    });
  });

  test('the process that watches the free space kills a reader that does not close its connection, and ends the job then', async () => {
    const server = createServer().listen(at('sock'));
    const script = `require('node:net').connect(${JSON.stringify(at('sock'))}); setInterval(() => {}, 1000);`;
    const reader = spawn(process.execPath, ['-e', script]);
    const signal = new Promise((resolve) => reader.once('exit', (_, by) => resolve(by)));
    try {
      await new Promise((resolve) => server.once('connection', resolve));
      await watching(everything, async () => {
        await until('the description is gone', () => !existsSync(at('description')));
        expect(called()).not.toContain('domjobabort');
        expect(await signal).toBe('SIGKILL');
        await until('the job is over', () => !existsSync(at('job')));
      });
    } finally {
      reader.kill('SIGKILL');
      server.close();
    }
  });

  test('the undo waits for the process that watches the free space when it is seeing to the guest', () => {
    writeFileSync(at('state'), 'paused (I/O error)\n');
    return watching(everything, async (isWatched, undo) => {
      await until('the description is gone', () => !existsSync(at('description')));
      await undo();
      expect(called()).toContain('resume one-7');
      expect(await isWatched()).toBe(false);
    });
  });

  test('the undo ends the process that watches the free space when there is enough', () =>
    watching(1, async (isWatched, undo) => {
      await undo();
      expect(await isWatched()).toBe(false);
      expect(called()).toBe('');
    }));

  test.each(['paused (user)', 'shut off (destroyed)'])(
    'the process that watches the free space leaves a guest alone that is %s',
    (state) => {
      writeFileSync(at('state'), `${state}\n`);
      return watching(everything, async (isWatched) => {
        await until('it has ended', async () => !(await isWatched()));
        expect(called()).not.toContain('resume');
      });
    },
  );

  test('the process that watches the free space leaves the job of another run alone', () => {
    writeFileSync(at('job'), `${at('sock')}.other`);
    return watching(everything, async () => {
      await until('it has asked', () => called().includes('backup-dumpxml'));
      await sleep(500);
      expect(called()).not.toContain('domjobabort');
      expect(existsSync(at('description'))).toBe(true);
    });
  });
});
