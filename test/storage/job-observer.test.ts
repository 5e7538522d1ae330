// An export that reads from a backup job, and the real process that watches the free space for it, which somebody kills.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../lib/report/log.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import { processesWith } from '../../lib/run/processes.ts';
import { observeJob } from '../../lib/storage/job/job-observer.ts';
import { startSpaceWatch, type WatchedJob } from '../../lib/storage/job/space-watch.ts';
import { until } from '../support/limits.ts';
import { quiet } from '../support/nbd-servers.ts';

const everything = 2 ** 52;
const runner = localRunner(quiet);
const path = process.env['PATH'] ?? '';

describe('an export that reads from a backup job', () => {
  let folder = '';
  let job: WatchedJob;
  let warnings: string[];
  let ends: unknown[];
  let log: Log;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onevmdump-test-'));
    mkdirSync(join(folder, 'bin'));
    // The job ends when it is aborted; each call is noted.
    const virsh = `#!/bin/sh
here='${folder}'
shift 2
echo "$*" >>"$here/called"
case $1 in
  backup-dumpxml) [ -e "$here/job" ] && echo "<server socket='$here/sock'/>" ;;
  domjobabort) rm "$here/job" ;;
esac`;
    writeFileSync(join(folder, 'bin/virsh'), virsh);
    chmodSync(join(folder, 'bin/virsh'), 0o755);
    process.env['PATH'] = `${join(folder, 'bin')}:${path}`;
    for (const name of ['description', 'job']) writeFileSync(join(folder, name), '');
    job = {
      name: `onevmdump-space-${randomUUID()}`,
      domain: { runner, uri: 'test:///default', name: 'one-7' },
      socket: join(folder, 'sock'),
      description: join(folder, 'description'),
      lowWaterMark: 1,
    };
    warnings = [];
    ends = [];
    log = { ...quiet, warn: (text) => void warnings.push(text) };
  });

  afterEach(async () => {
    rmSync(job.description, { force: true });
    await until('the watch ends', async () => (await watching()).length === 0);
    process.env['PATH'] = path;
    rmSync(folder, { recursive: true });
  });

  const watching = () => processesWith(runner, ['setsid', 'sh'], job.name);
  const killWatch = async (): Promise<void> => {
    for (const pid of await watching()) process.kill(pid, 'SIGKILL');
  };
  const observing = (wanted = job) =>
    observeJob(wanted, 'disk 0 of VM 7', (why) => ends.push(why), { runner, log });

  test('an export that reads from a backup job does nothing while somebody watches the free space', async () => {
    await startSpaceWatch(job, runner);
    const [watch] = await watching();
    const observer = await observing();
    await sleep(2500);
    await observer.stop();
    expect(await watching()).toContain(watch);
    expect({ warnings, ends }).toEqual({ warnings: [], ends: [] });
  });

  test('an export that reads from a backup job has the free space watched anew when the process that did is killed, and says so', async () => {
    await startSpaceWatch(job, runner);
    // From the second one on the space is always low.
    const observer = await observing({ ...job, lowWaterMark: everything });
    await sleep(500);
    expect(existsSync(join(folder, 'job'))).toBe(true);
    await killWatch();
    await until('the job is over', () => !existsSync(join(folder, 'job')));
    expect(readFileSync(join(folder, 'called'), 'utf8')).toContain('domjobabort one-7');
    await until('the reader is told', () => ends.length > 0);
    await observer.stop();
    expect(ends.map(String)).toEqual(['FailedError: disk 0 of VM 7 is not served any more']);
    expect(warnings).toEqual([
      `the process that watches the free space of ${folder} (${job.name}) has ended: somebody has killed it; it is started anew`,
    ]);
  });

  test('an export that reads from a backup job has the free space watched anew when nobody did from the start', async () => {
    const observer = await observing();
    await until('it is watched', async () => (await watching()).length > 0);
    await observer.stop();
    expect(warnings).toHaveLength(1);
    expect(ends).toEqual([]);
  });

  test('an export that reads from a backup job is given up when the process that watches the free space is killed again and again', async () => {
    await startSpaceWatch(job, runner);
    const observer = await observing();
    await until('it is given up', async () => {
      await killWatch();
      return ends.length > 0;
    });
    await observer.stop();
    expect(String(ends[0])).toMatch(
      /has ended 6 times while disk 0 of VM 7 was being read\. Without it the guest could get write errors/,
    );
    expect(warnings).toHaveLength(5);
  });

  test('an export that reads from a backup job is given up when the free space cannot be watched anew', async () => {
    writeFileSync(join(folder, 'bin/setsid'), '#!/bin/sh\nexit 1');
    chmodSync(join(folder, 'bin/setsid'), 0o755);
    const observer = await observing();
    await until('it is given up', () => ends.length > 0);
    await observer.stop();
    expect(String(ends[0])).toContain(`cannot watch the free space of ${folder}: sh: `);
  });
});
