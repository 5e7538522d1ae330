import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { adoptJournal, createJournal, type Journal } from '../../lib/run/journal.ts';
import { parseJournal } from '../../lib/run/journal-file.ts';
import type { Undo, UndoHandlers } from '../../lib/run/undo.ts';
import { factsOf, undoHandlers } from '../../lib/session/undo-handlers.ts';
import { createLog } from '../../lib/report/log.ts';

const folderOfMounts = mkdtempSync(join(tmpdir(), 'onevmdump-journal-mounts-'));
afterAll(() => rm(folderOfMounts, { recursive: true, force: true }));

/** Containers may have no right to mount, root or not. */
function canMount(path: string): boolean {
  const status = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path]).status;
  if (status === 0) execFileSync('umount', [path]);
  return status === 0;
}

let folder = '';
let lines: string[] = [];
const log = createLog({ script: 'test', debug: false, write: (line) => lines.push(line) });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-journal-'));
  lines = [];
});
/** Those of a test, which may leave them as a killed run does: with their files open. */
const opened: Journal[] = [];
afterEach(async () => {
  for (const journal of opened.splice(0)) await journal.undoAll(recordingHandlers().handlers);
  await rm(folder, { recursive: true, force: true });
});

const lock: Undo = {
  ...{ kind: 'restore-lock', endpoint: 'http://o', vmId: 8, before: null, since: 0 },
};
const file = (path: string): Undo => ({ kind: 'remove-file', path });

/** Handlers that note what they were asked, and fail for what has `fail` in its names, unless told otherwise. */
function recordingHandlers(
  fails = (undo: Undo): boolean => JSON.stringify(undo).includes('fail'),
): { handlers: UndoHandlers; seen: Undo[] } {
  const seen: Undo[] = [];
  const note = (undo: Undo): Promise<void> => {
    seen.push(undo);
    return fails(undo) ? Promise.reject(new Error('cannot')) : Promise.resolve();
  };
  return {
    seen,
    handlers: { read: factsOf, carryOut: ({ undo }) => note(undo) },
  };
}

async function newJournal(stateFolder = folder): Promise<Journal> {
  const journal = await createJournal({ stateFolder, action: 'export', vmId: 8, log });
  opened.push(journal);
  return journal;
}

async function adopted(path: string): ReturnType<typeof adoptJournal> {
  const all = await adoptJournal(path, log);
  opened.push(all.journal);
  return all;
}

async function journalFiles(): Promise<string[]> {
  return readdir(join(folder, 'journal'));
}

describe('the undo journal', () => {
  test('undos that are no longer needed are struck off together, in one write at the end of the journal', async () => {
    const journal = await newJournal();
    const entries = [];
    for (const path of ['/a', '/b', '/c']) entries.push(await journal.record(file(path)));
    const path = join(folder, 'journal', `${journal.runId}.jsonl`);
    const before = await readFile(path, 'utf8');
    await journal.allDone(entries.slice(0, 2));
    const after = await readFile(path, 'utf8');
    expect(after.startsWith(before)).toBe(true);
    expect(parseJournal(after, path).pending.map(({ undo }) => undo)).toEqual([file('/c')]);
    // Nothing is written for what was struck off before.
    await journal.allDone(entries.slice(0, 2));
    expect(await readFile(path, 'utf8')).toBe(after);
  });

  test('the undo journal is on disk, with the identity of the process, before record returns', async () => {
    const journal = await newJournal();
    await journal.record(file('/a'));
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const { header, pending } = parseJournal(await readFile(path, 'utf8'), path);
    expect(header.process.pid).toBe(process.pid);
    expect(header.vmId).toBe(8);
    expect(pending.map(({ undo }) => undo)).toEqual([file('/a')]);
  });

  test('the undo journal undoes the last first', async () => {
    const journal = await newJournal();
    await journal.record(file('/a'));
    await journal.record(file('/b'));
    const { handlers, seen } = recordingHandlers();
    await journal.undoAll(handlers);
    expect(seen).toEqual([file('/b'), file('/a')]);
  });

  test('the undo journal does not undo what was declared done', async () => {
    const journal = await newJournal();
    const entry = await journal.record(file('/a'));
    await journal.record(file('/b'));
    await entry.done();
    await entry.done();
    const { handlers, seen } = recordingHandlers();
    await journal.undoAll(handlers);
    expect(seen).toEqual([file('/b')]);
  });

  test('the undo journal leaves no file when everything was undone', async () => {
    const journal = await newJournal();
    await journal.record(file('/a'));
    await journal.undoAll(recordingHandlers().handlers);
    expect(await journalFiles()).toEqual([]);
  });

  test('the undo journal goes on after a failed undo, warns with a command, and keeps it for cleanup', async () => {
    const journal = await newJournal();
    await journal.record(file('/a'));
    await journal.record(file("/it's fail"));
    const { handlers, seen } = recordingHandlers();
    await journal.undoAll(handlers);
    expect(seen).toHaveLength(2);
    expect(lines.join('')).toContain(`rm -f '/it'\\''s fail'`);
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const { pending } = parseJournal(await readFile(path, 'utf8'), path);
    expect(pending.map(({ undo }) => undo)).toEqual([file("/it's fail")]);
  });

  const onStorage: Undo[] = [
    { kind: 'remove-snapshot-lv', group: 'vg-one-0', name: 'fail-0', origin: 'lv-one-8-0' },
    { kind: 'deactivate-lv', group: 'vg-one-0', name: 'fail-0' },
    { kind: 'remove-rbd-snapshot', image: 'one/one-3', snapshot: 'fail', disk: 'd', access: {} },
    { kind: 'abort-backup-job', uri: '', domain: 'one-8', socket: 'fail' },
  ];

  test.each(onStorage)('the undo keeps the VM locked as long as it cannot $kind', async (undo) => {
    const journal = await newJournal();
    await journal.record(lock);
    await journal.record(undo);
    const { handlers, seen } = recordingHandlers();
    await journal.undoAll(handlers);
    expect(seen).toEqual([undo]);
    expect(lines.join('')).toContain('VM 8 stays locked');
    // And so does a later cleanup, until that is gone.
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const again = recordingHandlers();
    await (await adopted(path)).journal.undoAll(again.handlers);
    expect(again.seen).toEqual([undo]);
    const last = recordingHandlers(() => false);
    await (await adopted(path)).journal.undoAll(last.handlers);
    expect(last.seen).toEqual([undo, lock]);
    expect(await journalFiles()).toEqual([]);
  });

  test('the undo unlocks the VM last of all, and also when a file elsewhere cannot be removed', async () => {
    const journal = await newJournal();
    const later = file('/fail');
    await journal.record(file('/a'));
    await journal.record(later);
    await journal.record(lock);
    const { handlers, seen } = recordingHandlers();
    await journal.undoAll(handlers);
    expect(seen).toEqual([later, file('/a'), lock]);
  });

  test('the undo journal remembers on which machine a change was made', async () => {
    const journal = await newJournal();
    await journal.record(file('/a'), { host: 'kvm1', user: 'oneadmin' });
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const { pending } = parseJournal(await readFile(path, 'utf8'), path);
    expect(pending).toMatchObject([{ undo: file('/a'), on: { host: 'kvm1', user: 'oneadmin' } }]);
  });

  test('the undo journal of a dead run can be taken over and ended', async () => {
    const journal = await newJournal();
    await (await journal.record(file('/a'))).done();
    await journal.record(file('/b'));
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const taken = await adopted(path);
    expect(taken.pending).toEqual([{ undo: file('/b'), on: undefined }]);
    await taken.journal.undoAll(recordingHandlers().handlers);
    expect(await journalFiles()).toEqual([]);
  });

  test('the undo journal whose last line was cut short by a crash still tells the rest', async () => {
    const journal = await newJournal();
    await journal.record(file('/a'));
    await journal.record(file('/b'));
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const text = await readFile(path, 'utf8');
    const cut = text.slice(0, text.length - 7);
    expect(parseJournal(cut, path).pending.map(({ undo }) => undo)).toEqual([file('/a')]);
  });

  test('the undo journal goes on behind a line that was cut short, on a line of its own', async () => {
    const journal = await newJournal();
    await journal.record(file('/a'));
    await journal.record(file('/b'));
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.slice(0, -7));
    const taken = await adopted(path);
    await taken.journal.record(file('/c'));
    const { pending } = parseJournal(await readFile(path, 'utf8'), path);
    expect(pending.map(({ undo }) => undo)).toEqual([file('/a'), file('/c')]);
  });

  test('the undo journal is refused when the file is something else', () => {
    expect(() => parseJournal('hello\n', '/x')).toThrow('/x is not a journal');
  });

  test.each<[string, object, string]>([
    ['names an option of ssh as host', { on: { host: '-oProxyCommand=x' } }, 'on.host is not'],
    ['has an undo without a kind', { undo: { path: '/a' } }, 'undo is not an undo'],
  ])('the undo journal is refused when an entry %s', async (_, entry, why) => {
    const journal = await newJournal();
    await journal.record(file('/a'));
    const path = join(folder, 'journal', (await journalFiles())[0]!);
    const text = await readFile(path, 'utf8');
    const changed = `${text}${JSON.stringify({ seq: 2, undo: file('/b'), ...entry })}\n`;
    expect(() => parseJournal(changed, path)).toThrow(`${path} is not a journal`);
    expect(() => parseJournal(changed, path)).toThrow(why);
  });

  test.each<[string, Undo, string]>([
    [
      'of a kind that this version does not know',
      { kind: 'remove-zfs-snapshot', name: 'a@b' },
      'does not know the undo "remove-zfs-snapshot"',
    ],
    ['whose data is wrong', { kind: 'deactivate-lv', group: 7, name: 'a' }, 'group is not a text'],
  ])(
    'the undo journal keeps an undo %s, says so, and leaves the VM locked',
    async (_, undo, why) => {
      const journal = await newJournal();
      await journal.record(lock);
      await journal.record(undo);
      await journal.record(file('/a'));
      const done: string[] = [];
      const real = undoHandlers({
        ...{ log, answerMs: 0, runnerAt: () => Promise.reject(new Error('no machine')) as never },
        connect: () => Promise.reject(new Error('is not to be unlocked')),
      });
      await journal.undoAll({
        read: real.read,
        carryOut: async (placed) => {
          if (placed.undo.kind === 'remove-file') done.push(String(placed.undo['path']));
          else await real.carryOut(placed);
        },
      });
      expect(done).toEqual(['/a']);
      expect(lines.join('')).toContain(why);
      expect(lines.join('')).toContain(
        `a person has to find out what is left: {"kind":"${undo.kind}"`,
      );
      expect(lines.join('')).toContain('VM 8 stays locked');
      const path = join(folder, 'journal', (await journalFiles())[0]!);
      const { pending } = parseJournal(await readFile(path, 'utf8'), path);
      expect(pending.map((one) => one.undo.kind)).toEqual(['restore-lock', undo.kind]);
    },
  );

  // Only root can give files away.
  (userInfo().uid === 0 ? test : test.skip)(
    "root's undo journal in oneadmin's state folder belongs to oneadmin, who can then undo it",
    async () => {
      await chown(folder, 65534, 65534);
      await newJournal();
      const [name] = await journalFiles();
      expect((await stat(join(folder, 'journal'))).uid).toBe(65534);
      expect((await stat(join(folder, 'journal', name!))).uid).toBe(65534);
    },
  );

  (canMount(folderOfMounts) ? describe : describe.skip)(
    'on a file system that becomes full',
    () => {
      const mounted = join(folderOfMounts, 'state');
      beforeEach(() => {
        mkdirSync(mounted, { recursive: true });
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mounted]);
      });
      afterEach(() => void execFileSync('umount', ['-l', mounted]));

      /** Writes until nothing fits any more. */
      async function fill(journal: Journal): Promise<void> {
        for (;;) {
          try {
            await journal.record(file(`/${'x'.repeat(100)}`));
          } catch {
            return;
          }
        }
      }
      const newJournalThere = () => newJournal(mounted);

      test('a full file system makes the undo journal refuse to record, and only warn when it takes note that an undo is not needed', async () => {
        const journal = await newJournalThere();
        const entry = await journal.record(file('/bundle.part'));
        await fill(journal);
        await expect(journal.record(file('/b'))).rejects.toThrow('ENOSPC');
        await entry.done();
        expect(lines.join('')).toContain('cannot write the undo journal');
        const { handlers, seen } = recordingHandlers();
        await journal.undoAll(handlers);
        // What was no longer needed is not undone, and nothing is left for a later cleanup.
        expect(seen).not.toContainEqual(file('/bundle.part'));
        expect(await readdir(join(mounted, 'journal'))).toEqual([]);
      });

      test('an undo journal on a full file system cannot be begun, and leaves no file', async () => {
        await mkdir(join(mounted, 'journal'));
        const filled = writeFile(join(mounted, 'full'), Buffer.alloc(1024 * 1024));
        await expect(filled).rejects.toThrow('ENOSPC');
        await expect(newJournalThere()).rejects.toThrow('cannot write the undo journal');
        expect(await readdir(join(mounted, 'journal'))).toEqual([]);
      });
    },
  );

  test('the undo journal that cannot be written says which setting to change', async () => {
    await writeFile(join(folder, 'blocked'), '');
    await expect(
      createJournal({ stateFolder: join(folder, 'blocked'), action: 'export', vmId: 8, log }),
    ).rejects.toThrow('STATE_DIR');
  });
});
