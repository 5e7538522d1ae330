// The locks of OpenNebula's drivers, with the real flock.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { InterruptedError } from '../../lib/report/errors.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import { takeDriverLock } from '../../lib/tools/driver-lock.ts';
import { quiet } from '../support/nbd-servers.ts';

const name = 'tm-fs_lvm-110.lock';
let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'onevmdump-lock-')), 'one');
  mkdirSync(folder);
});
afterEach(() => rm(join(folder, '..'), { recursive: true }));

const take = (waitSeconds = 120, signal?: AbortSignal) =>
  takeDriverLock(localRunner(quiet), name, {
    ...{ doing: 'make snapshots', signal, folder, waitSeconds },
  });

/** Whether a driver would get it now: it opens the file for writing, and waits with flock. */
const isFree = (): boolean =>
  spawnSync('bash', ['-c', 'exec {fd}>"$1" && flock -w 0 "$fd"', 'bash', join(folder, name)])
    .status === 0;

describe("a lock of OpenNebula's drivers", () => {
  test("a lock of OpenNebula's drivers is theirs again as soon as it is released", async () => {
    const lock = await take();
    expect(isFree()).toBe(false);
    await lock.release();
    expect(isFree()).toBe(true);
  });

  test("a lock of OpenNebula's drivers is waited for until a driver releases it", async () => {
    execFileSync('bash', [
      '-c',
      'flock "$1" sleep 1 >/dev/null 2>&1 & sleep 0.3',
      'bash',
      join(folder, name),
    ]);
    expect(isFree()).toBe(false);
    await (await take()).release();
  });

  test("a lock of OpenNebula's drivers that is not free in time is an error which says who can be asked", async () => {
    const lock = await take();
    await expect(take(1)).rejects.toThrow(
      `cannot make snapshots: OpenNebula's lock ${folder}/${name} on this machine is held by another program, and was not free in time; see who it is: fuser -v ${folder}/${name}`,
    );
    await lock.release();
    expect(isFree()).toBe(true);
  });

  test("a lock of OpenNebula's drivers is not waited for any longer when the run is interrupted", async () => {
    const lock = await take();
    const controller = new AbortController();
    setTimeout(() => controller.abort(new InterruptedError('SIGINT')), 200);
    await expect(take(120, controller.signal)).rejects.toThrow('interrupted by SIGINT');
    await lock.release();
  });

  test("a lock of OpenNebula's drivers that cannot be opened is an error with the reason", async () => {
    mkdirSync(join(folder, 'sub'));
    await expect(
      takeDriverLock(localRunner(quiet), 'none/x.lock', { doing: 'make snapshots', folder }),
    ).rejects.toThrow(
      /cannot make snapshots: OpenNebula's lock .*none\/x\.lock .*cannot be taken: .+/,
    );
  });

  test("a lock of OpenNebula's drivers is not asked for where OpenNebula keeps no locks", async () => {
    await rm(folder, { recursive: true });
    await (await take()).release();
    expect(existsSync(folder)).toBe(false);
  });

  // Only root can give files away.
  (userInfo().uid === 0 ? test : test.skip)(
    "a lock of OpenNebula's drivers that root takes first belongs to oneadmin, who must be able to open it",
    async () => {
      chownSync(folder, 65534, 65534);
      await (await take()).release();
      expect(readdirSync(folder)).toEqual([name]);
      expect(statSync(join(folder, name))).toMatchObject({ uid: 65534, gid: 65534 });
    },
  );
});
