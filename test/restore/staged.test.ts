import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { chmod, mkdtemp, readdir, readFile, rm, stat, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BundleDisk } from '../../lib/bundle/read/bundle.ts';
import { createLog } from '../../lib/report/log.ts';
import type { Delivery } from '../../lib/restore/delivery.ts';
import type { ImagePlan } from '../../lib/restore/image-plan.ts';
import { stagedDelivery } from '../../lib/restore/staged.ts';
import { createJournal, type Journal } from '../../lib/run/journal.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import { undoHandlers } from '../../lib/session/undo-handlers.ts';
import { sh } from '../support/shell.ts';

const lines: string[] = [];
const log = createLog({ script: 'test', debug: false, write: (line) => lines.push(line) });
const task = { add: () => undefined, end: () => undefined };
let folder = '';
let journal: Journal;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-staged-'));
  journal = await createJournal({ stateFolder: folder, action: 'restore', vmId: undefined, log });
  lines.length = 0;
});
afterEach(async () => {
  await journal.undoAll(
    undoHandlers({
      log,
      answerMs: 0,
      connect: () => Promise.reject(new Error('no OpenNebula here')),
      runnerAt: () => localRunner(log),
    }),
  );
  await rm(folder, { recursive: true, force: true });
});

const { signal } = new AbortController();

interface Stage extends Delivery {
  stage(disk: BundleDisk, format: 'raw' | 'qcow2'): Promise<string>;
}

function staging(parent = join(folder, 'staging')): Stage {
  const progress = { begin: () => task };
  const run = { journal, log, progress, runner: localRunner(log), datastoreLocation: folder };
  const delivery = stagedDelivery(parent, run);
  return {
    ...delivery,
    stage: async (source, format) => (await delivery.deliver(planOf(source, format), signal)).path,
  };
}

function planOf(source: BundleDisk, format: 'raw' | 'qcow2'): ImagePlan {
  return { as: 'register', disk: { id: source.id }, source, format } as ImagePlan;
}

/** A disk of `size` bytes that holds `text` at `offset`. */
function disk(size: number, offset: number, text: string, dataBytes = text.length): BundleDisk {
  const data = Buffer.from(text, 'latin1');
  const head = Buffer.alloc(Math.min(size, 65536));
  data.copy(head, offset);
  return {
    id: 3,
    member: './backup.disk.3',
    size,
    dataBytes,
    format: undefined,
    head: () => Promise.resolve(head),
    async *pieces() {
      await Promise.resolve();
      yield { offset, data };
    },
  };
}

describe('staging a disk', () => {
  test('staging a disk writes it sparse, for its owner alone, in a private folder', async () => {
    const stage = staging();
    const path = await stage.stage(disk(8 * 1024 * 1024, 4096, 'hello'), 'raw');
    const facts = await stat(path);
    expect({ size: facts.size, mode: facts.mode & 0o777 }).toEqual({ size: 8 << 20, mode: 0o600 });
    expect(facts.blocks * 512).toBeLessThan(64 * 1024);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
    await stage.close();
  });

  test('staging a disk gives a disk of 0 bytes one sector, since OpenNebula takes no empty file', async () => {
    const stage = staging();
    const path = await stage.stage(disk(0, 0, ''), 'raw');
    expect((await readFile(path)).equals(Buffer.alloc(512))).toBe(true);
    expect(lines.join('')).toContain('disk 3 has 0 bytes');
    await stage.close();
  });

  test('staging a disk leaves nothing when it is closed', async () => {
    const stage = staging();
    await stage.stage(disk(1024, 0, 'x'), 'raw');
    await stage.close();
    expect(await readdir(join(folder, 'staging'))).toEqual([]);
  });

  test('staging a disk wraps a raw disk that begins like something else', async () => {
    const stage = staging();
    const path = await stage.stage(disk(1024 * 1024, 0, 'QFI\xfb and more'), 'raw');
    expect(await sh('qemu-img', 'info', '-f', 'qcow2', path)).toContain('virtual size: 1 MiB');
    expect(lines.join('')).toContain('begins like qcow');
    await stage.close();
  });

  test('staging a disk refuses a disk for which there is no room, before it writes', async () => {
    const stage = staging();
    const huge = disk(2 ** 50, 0, 'x', 2 ** 50);
    await expect(stage.stage(huge, 'raw')).rejects.toThrow('choose another folder');
    expect(await readdir(join(folder, 'staging'), { recursive: true })).toHaveLength(1);
    await stage.close();
  });

  test('staging a disk refuses a qcow2 disk that is none', async () => {
    const stage = staging();
    await expect(stage.stage(disk(65536, 0, 'hello'), 'qcow2')).rejects.toThrow(
      'disk 3 cannot be restored',
    );
    await stage.close();
  });

  test('staging a disk refuses a folder in which others could replace the disks', async () => {
    const parent = await mkdtemp(join(folder, 'open-'));
    await chmod(parent, 0o777);
    await expect(staging(parent).stage(disk(512, 0, 'x'), 'raw')).rejects.toThrow(
      'can be changed by other users',
    );
  });

  test('staging a disk accepts a sticky folder such as /var/tmp', async () => {
    const parent = await mkdtemp(join(folder, 'sticky-'));
    await chmod(parent, 0o1777);
    const stage = staging(parent);
    await stage.stage(disk(512, 0, 'x'), 'raw');
    await stage.close();
  });

  test('staging a disk is refused at once for a user whose files oned cannot read', async () => {
    const { uid } = await stat(folder);
    const us = jest.spyOn(process, 'geteuid').mockReturnValue(uid + 4711);
    const delivery = staging();
    await expect(delivery.check()).rejects.toThrow(
      'must run as the user of oned (oneadmin) or as root',
    );
    us.mockReturnValue(uid);
    await delivery.check();
    us.mockRestore();
  });

  test('staging a disk says so when the folder cannot be made', async () => {
    await expect(staging('/proc/nowhere').stage(disk(512, 0, 'x'), 'raw')).rejects.toThrow(
      'cannot make a folder in /proc/nowhere',
    );
  });

  test('staging a disk knows that a disk that has to be wrapped needs room for two copies', async () => {
    const stage = staging();
    await stage.stage(disk(1024, 0, 'x'), 'raw');
    const { bavail, bsize } = await statfs(folder);
    const most = Math.round(bavail * bsize * 0.7);
    expect(await stage.hasRoomFor(planOf(disk(most, 0, 'plain', most), 'raw'), signal)).toBe(true);
    expect(await stage.hasRoomFor(planOf(disk(most, 0, 'QFI\xfb', most), 'raw'), signal)).toBe(
      false,
    );
    const wrapped = { ...disk(most, 0, 'QFI\xfb', most), id: 4 };
    await expect(stage.stage(wrapped, 'raw')).rejects.toThrow('disk 4 needs');
    await stage.close();
  });
});
