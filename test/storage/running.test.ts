import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ConnectionError, InterruptedError } from '../../lib/report/errors.ts';
import type { Run } from '../../lib/run/run.ts';
import type { Runner } from '../../lib/run/runner.ts';
import { abortBackupJob } from '../../lib/guest/undo.ts';
import type { Undo } from '../../lib/run/undo.ts';
import type { FreezeRequest } from '../../lib/guest/freeze.ts';
import { snapshotDisks } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import type { VmSnapshot } from '../../lib/storage/storage.ts';
import { undoHandlers } from '../../lib/session/undo-handlers.ts';
import type { Disk } from '../../lib/vm/vm.ts';
import { fakeLibvirt, type FakeFacts, type FakeLibvirt } from '../support/fake-libvirt.ts';
import {
  cloneAsQcow2Tm,
  disk,
  inWorld,
  MiB,
  qemuImg,
  qemuIo,
  rawFile,
  vm,
  type World,
  settingsWith,
} from '../support/storage-world.ts';

const running = { state: 3, lcmState: 3, deployId: 'one-7' };

interface Scene {
  readonly world: World;
  readonly libvirt: FakeLibvirt;
  /** The undos as they were when each virsh command was given. */
  readonly recordedAt: Map<string, readonly string[]>;
  readonly fix: (freeze?: FreezeRequest, more?: Partial<Run>) => Promise<VmSnapshot>;
  readonly undo: () => Promise<void>;
}

/** VM 7 runs with two raw disks, vda and vdb. */
async function inScene(
  body: (scene: Scene) => Promise<void>,
  { errorPolicy = 'enospace', ...facts }: Partial<FakeFacts> & { errorPolicy?: string } = {},
  disks: readonly Disk[] = [disk(0), disk(1, { target: 'vdb' })],
): Promise<void> {
  await inWorld(async (world) => {
    const files = [0, 1].map((id) => join(world.vmFolder, `disk.${id}`));
    for (const file of files) await rawFile(file, MiB, [[0, 4096]]);
    const recordedAt = new Map<string, readonly string[]>();
    const libvirt = fakeLibvirt({
      name: 'one-7',
      disks: [
        { target: 'vda', file: files[0]!, format: 'raw' },
        { target: 'vdb', file: files[1]!, format: 'raw', errorPolicy },
      ],
      ...facts,
      meddle: (command) => {
        const [word = ''] = command.split(' ');
        recordedAt.set(
          word,
          world.undone().map(({ kind }) => kind),
        );
        facts.meddle?.(command);
      },
    });
    const run = { ...world.run, runner: libvirt.runner };
    const handlers = undoHandlers({
      log: world.run.log,
      answerMs: 0,
      connect: () => Promise.reject(new Error('OpenNebula is not needed')),
      runnerAt: () => libvirt.runner,
    });
    await body({
      world,
      libvirt,
      recordedAt,
      fix: (freeze, more) =>
        snapshotDisks(
          planDumps(vm(disks, running), new Map()),
          { ...run, ...more },
          freeze && { freeze, way: 'auto' },
        ),
      async undo() {
        const left: Undo[] = [...world.undone()].reverse();
        for (const undo of left) await handlers.carryOut({ undo, on: undefined });
      },
    });
  });
}

/** What is done to the guest and its disks, without the questions. */
function acts({ calls }: FakeLibvirt): string[] {
  const questions = [
    'list',
    'domstate',
    'domjobinfo',
    'dumpxml',
    'domcapabilities',
    'backup-dumpxml',
  ];
  return calls.filter((call) => !questions.includes(call));
}

const refusal = (word: string, why: string): Partial<FakeFacts> => ({
  meddle: (command) => {
    if (command.startsWith(word)) throw new Error(why);
  },
});

describe('the disks of a running VM', () => {
  test('the disks of a running VM get one point in time between a freeze and a thaw, with everything slow before', () =>
    inScene(async ({ fix, libvirt }) => {
      const { disks, consistency } = await fix();
      expect(acts(libvirt)).toEqual([
        'guest-fsfreeze-status',
        'watchdog',
        'guest-fsfreeze-freeze',
        'backup-begin',
        'guest-fsfreeze-thaw',
        'watchdog ended',
      ]);
      const { calls } = libvirt;
      expect(
        calls.slice(
          calls.indexOf('guest-fsfreeze-freeze'),
          calls.indexOf('guest-fsfreeze-thaw') + 1,
        ),
      ).toEqual(['guest-fsfreeze-freeze', 'backup-begin', 'guest-fsfreeze-thaw']);
      expect(consistency.level).toBe('agent');
      expect(consistency.frozenMs).toBeGreaterThan(0);
      expect(disks.map(({ id, layout }) => [id, layout])).toEqual([
        [0, { format: 'raw' }],
        [1, { format: 'raw' }],
      ]);
    }));

  test('the disks of a running VM have every way back in the journal before it is needed', () =>
    inScene(async ({ fix, recordedAt, world }) => {
      await fix();
      expect(recordedAt.get('guest-fsfreeze-freeze')?.at(-1)).toBe('thaw');
      expect(recordedAt.get('backup-begin')).toContain('abort-backup-job');
      expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
    }));

  // OpenNebula's packages set dynamic_ownership = 0: libvirt would make them as root, and QEMU runs as oneadmin.
  test('what a guest overwrites of its disks goes into files that are there before, for QEMU alone', () => {
    const found: object[] = [];
    let folder = '';
    return inScene(
      async ({ fix, world }) => {
        folder = world.vmFolder;
        await fix();
        const root = process.getuid?.() === 0;
        const uid = root ? 4711 : process.getuid?.();
        const facts = { mode: 0o600, uid, format: 'qcow2', virtualSize: MiB };
        expect(found).toEqual([facts, facts]);
      },
      {
        owner: '+4711:+4712',
        meddle: (command) => {
          if (!command.startsWith('backup-begin one-7 --reuse-external ')) return;
          for (const name of readdirSync(folder).filter((one) => one.includes('.scratch.'))) {
            const { mode, uid } = statSync(join(folder, name));
            const info = execFileSync('qemu-img', ['info', '--output=json', join(folder, name)]);
            const { format, 'virtual-size': virtualSize } = JSON.parse(info.toString()) as Record<
              string,
              unknown
            >;
            found.push({ mode: mode & 0o777, uid, format, virtualSize });
          }
        },
      },
    );
  });

  test('the disks of a running VM are as before after the undo: no job, no file of ours', () =>
    inScene(async ({ fix, undo, libvirt, world }) => {
      await fix();
      expect(libvirt.job()).toContain(world.vmFolder);
      const files = world
        .undone()
        .flatMap((one) => (one.kind === 'remove-file' ? [String(one['path'])] : []));
      expect(files).toHaveLength(4);
      await undo();
      expect(libvirt.job()).toBeUndefined();
      expect(files.filter((file) => existsSync(file))).toEqual([]);
    }));

  test('the disks of a running VM with --fs-freeze suspend have the guest paused instead', () =>
    inScene(async ({ fix, libvirt }) => {
      const { consistency } = await fix({ mode: 'suspend', required: true });
      expect(consistency.level).toBe('suspend');
      expect(acts(libvirt)).toEqual([
        'watchdog',
        'suspend',
        'backup-begin',
        'resume',
        'watchdog ended',
      ]);
    }));

  test('the disks of a running VM with --fs-freeze none leave the guest alone', () =>
    inScene(async ({ fix, libvirt }) => {
      const { consistency } = await fix({ mode: 'none', required: false });
      expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
      expect(acts(libvirt)).toEqual(['backup-begin']);
    }));

  test('a guest whose agent does not answer is never told to freeze', () =>
    inScene(
      async ({ fix, libvirt }) => {
        const { consistency } = await fix();
        expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
        expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
        expect(libvirt.calls).toContain('backup-begin');
      },
      refusal('guest-fsfreeze-status', 'Guest agent is not responding'),
    ));

  test('a guest that is booting is frozen by its agent as soon as that is there', () => {
    let asked = 0;
    return inScene(
      async ({ fix, libvirt }) => {
        const freeze = { mode: 'agent', required: false, agentWaitMs: 30_000 } as const;
        expect((await fix(freeze)).consistency.level).toBe('agent');
        // Twice in vain, then it is there; and once more right before the freeze.
        expect(libvirt.calls.filter((call) => call === 'guest-fsfreeze-status')).toHaveLength(4);
      },
      {
        meddle: (command) => {
          if (command.startsWith('guest-fsfreeze-status') && ++asked < 3) {
            throw new Error('Guest agent is not responding: QEMU guest agent is not connected');
          }
        },
      },
    );
  });

  test('a guest that has no agent is exported without waiting for one', () =>
    inScene(
      async ({ fix, libvirt }) => {
        const freeze = { mode: 'agent', required: false, agentWaitMs: 30_000 } as const;
        expect((await fix(freeze)).consistency.level).toBe('crash');
        expect(libvirt.calls.filter((call) => call === 'guest-fsfreeze-status')).toHaveLength(2);
      },
      refusal('guest-fsfreeze-status', 'argument unsupported: QEMU guest agent is not configured'),
    ));

  test('the disks of a guest without an agent are not exported when the freeze is required', () =>
    inScene(
      async ({ fix, libvirt }) => {
        await expect(fix({ mode: 'agent', required: true })).rejects.toThrow(
          /cannot be frozen: .*not responding; nothing was exported, since that is required/,
        );
        expect(libvirt.calls).not.toContain('backup-begin');
      },
      refusal('guest-fsfreeze-status', 'Guest agent is not responding'),
    ));

  // Nobody knows what the guest does then: that is no agent that does not answer.
  test.each(['guest-fsfreeze-status', 'guest-fsfreeze-freeze'])(
    'a guest is not exported, and is thawed, when the connection is lost in %s',
    (word) =>
      inScene(
        async ({ fix, libvirt }) => {
          await expect(fix()).rejects.toThrow('the connection was lost');
          expect(libvirt.calls).not.toContain('backup-begin');
          expect(libvirt.frozen()).toBe(false);
          expect(libvirt.calls.includes('guest-fsfreeze-thaw')).toBe(
            word === 'guest-fsfreeze-freeze',
          );
        },
        {
          meddle: (command) => {
            if (!command.startsWith(word)) return;
            throw new ConnectionError('the connection was lost', { command });
          },
        },
      ),
  );

  // The point in time may be one at which the guest was not frozen or paused any more.
  describe.each(['agent', 'suspend'] as const)(
    'of a guest that is frozen or paused (%s)',
    (mode) => {
      test.each([
        ['with its connection', new ConnectionError('host1 is lost', { command: 'ssh' }), 4],
        ['before its time', undefined, 1],
      ])(
        `the disks of a guest that is frozen or paused (${mode}) are not exported when its watchdog has ended %s`,
        (_, lost, exitCode) =>
          inScene(
            async ({ fix, undo, libvirt }) => {
              const message = lost
                ? /the watchdog thawed or resumed the guest .*: host1 is lost$/
                : /watchdog .*too long$/;
              await expect(fix({ mode, required: false })).rejects.toMatchObject({
                exitCode,
                message: expect.stringMatching(message) as unknown,
              });
              await undo();
              expect([libvirt.frozen(), libvirt.paused()]).toEqual([false, false]);
            },
            { watchdogEnd: { status: undefined, stderr: '', lost } },
          ),
      );
    },
  );

  test('a guest whose agent may not tell whether it is frozen is not frozen', () =>
    inScene(
      async ({ fix, libvirt }) => {
        expect((await fix()).consistency.level).toBe('crash');
        expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
        expect(libvirt.calls).not.toContain('guest-fsfreeze-thaw');
      },
      refusal(
        'guest-fsfreeze-status',
        "unable to execute QEMU agent command 'guest-fsfreeze-status': The command guest-fsfreeze-status has been disabled for this instance",
      ),
    ));

  describe('of a guest that another tool has frozen', () => {
    const frozenByOthers = { frozenByOthers: true };

    test.each([true, false])(
      'a guest that another tool has frozen is not exported, and stays frozen (a freeze is required: %s)',
      (required) =>
        inScene(async ({ fix, undo, libvirt, world }) => {
          await expect(fix({ mode: 'agent', required })).rejects.toMatchObject({
            code: 'guest-frozen',
            exitCode: 1,
            facts: { vmId: 7 },
            message: expect.stringMatching(
              /^the guest of VM 7 is frozen already: .* virsh domfsthaw one-7$/,
            ) as unknown,
          });
          expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
          await undo();
          expect(acts(libvirt)).toEqual(['guest-fsfreeze-status']);
          expect(libvirt.frozen()).toBe(true);
        }, frozenByOthers),
    );

    test.each(['none', 'suspend'] as const)(
      'a guest that another tool has frozen is exported with --fs-freeze %s, and stays frozen',
      (mode) =>
        inScene(async ({ fix, undo, libvirt }) => {
          const { consistency } = await fix({ mode, required: mode === 'suspend' });
          expect(consistency.level).toBe(mode === 'none' ? 'crash' : 'suspend');
          await undo();
          expect(libvirt.frozen()).toBe(true);
          expect(libvirt.paused()).toBe(false);
        }, frozenByOthers),
    );

    test('a guest that another tool freezes right after the export asked is not exported, and stays frozen', () => {
      let scene: Scene | undefined;
      return inScene(
        async (one) => {
          scene = one;
          const { fix, undo, libvirt, world } = one;
          await expect(fix()).rejects.toMatchObject({ code: 'guest-frozen' });
          expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
          await undo();
          expect(libvirt.calls).not.toContain('backup-begin');
          expect(libvirt.calls).not.toContain('guest-fsfreeze-thaw');
          expect(libvirt.calls).toContain('watchdog ended');
          expect(libvirt.frozen()).toBe(true);
        },
        {
          meddle: (command) => {
            if (command === 'guest-fsfreeze-freeze') scene?.libvirt.freeze();
          },
        },
      );
    });
  });

  test('a guest whose agent is forbidden to freeze is as after a power cut, and is not told to thaw', () =>
    inScene(
      async ({ fix, libvirt, world }) => {
        expect((await fix()).consistency.level).toBe('crash');
        expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
        expect(libvirt.calls).not.toContain('guest-fsfreeze-thaw');
        expect(libvirt.calls).toContain('watchdog ended');
      },
      refusal(
        'guest-fsfreeze-freeze',
        "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': The command guest-fsfreeze-freeze has been disabled for this instance",
      ),
    ));

  test('a guest is thawed after a freeze that failed, which may have been carried out', () =>
    inScene(
      async ({ fix, libvirt, world }) => {
        expect((await fix()).consistency.level).toBe('crash');
        expect(acts(libvirt).slice(2, 5)).toEqual([
          'guest-fsfreeze-freeze',
          'guest-fsfreeze-thaw',
          'watchdog ended',
        ]);
        expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
      },
      refusal('guest-fsfreeze-freeze', 'took too long'),
    ));

  test('the disks of a guest with nothing to freeze are as after a power cut', () =>
    inScene(
      async ({ fix, libvirt }) => {
        expect((await fix()).consistency.level).toBe('crash');
        expect(libvirt.frozen()).toBe(false);
      },
      { frozenSystems: 0 },
    ));

  test('a guest is thawed again when the thaw fails at first', () => {
    let failures = 2;
    return inScene(
      async ({ fix, libvirt }) => {
        expect((await fix()).consistency.level).toBe('agent');
        expect(libvirt.frozen()).toBe(false);
        expect(libvirt.calls.filter((call) => call === 'guest-fsfreeze-thaw')).toHaveLength(3);
      },
      {
        meddle: (command) => {
          if (command.startsWith('guest-fsfreeze-thaw') && failures-- > 0)
            throw new Error('not now');
        },
      },
    );
  });

  describe('of a guest that has ended its freeze by itself, as Windows does after 10 s', () => {
    const endsItsFreeze = { endsItsFreeze: true };

    test('the disks of a guest that has ended its freeze by itself, as Windows does after 10 s, are as after a power cut, with a warning', () =>
      inScene(async ({ fix, libvirt, world }) => {
        const warnings: string[] = [];
        const log = { ...world.run.log, warn: (text: string) => void warnings.push(text) };
        const { consistency } = await fix({ mode: 'agent', required: false }, { log });
        expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
        expect(warnings.join()).toMatch(
          /^the file systems of VM 7 did not stay frozen: .*limited up to 10 seconds; its disks will be as after a power cut \(crash\)$/s,
        );
        expect(libvirt.calls.filter((call) => call === 'guest-fsfreeze-thaw')).toHaveLength(2);
        expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
        expect(libvirt.calls).toContain('watchdog ended');
      }, endsItsFreeze));

    test('the disks of a guest that has ended its freeze by itself, as Windows does after 10 s, are not dumped when a freeze is required', () =>
      inScene(async ({ fix, undo, libvirt, world }) => {
        await expect(fix({ mode: 'agent', required: true })).rejects.toThrow(
          /did not stay frozen: .*limited up to 10 seconds; nothing was exported/s,
        );
        expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
        await undo();
        expect(libvirt.job()).toBeUndefined();
      }, endsItsFreeze));
  });

  test('the disks of a guest that another tool has thawed too early are not exported when a freeze is required', () => {
    let scene: Scene | undefined;
    const thawedByOthers = (command: string): void => {
      if (command.startsWith('backup-begin')) scene?.libvirt.thaw();
    };
    return inScene(
      async (one) => {
        scene = one;
        await expect(one.fix({ mode: 'agent', required: true })).rejects.toThrow(
          'the file systems of VM 7 did not stay frozen: somebody else has thawed them; nothing was exported',
        );
        expect(one.world.undone().map(({ kind }) => kind)).not.toContain('thaw');
      },
      { meddle: thawedByOthers },
    );
  });

  test('the disks are frozen to the end when the answer to a thaw was lost that was carried out', () => {
    let scene: Scene | undefined;
    let lost = false;
    const loseAnswer = (command: string): void => {
      if (!command.startsWith('guest-fsfreeze-thaw') || lost) return;
      lost = true;
      scene?.libvirt.thaw();
      throw new Error('End of file while reading data');
    };
    return inScene(
      async (one) => {
        scene = one;
        expect((await one.fix()).consistency.level).toBe('agent');
      },
      { meddle: loseAnswer },
    );
  });

  test('a guest whose backup job cannot begin is thawed at once', () =>
    inScene(
      async ({ fix, libvirt, world }) => {
        await expect(fix()).rejects.toThrow('cannot begin a backup job of one-7: virsh: error: no');
        expect(libvirt.frozen()).toBe(false);
        expect(world.undone().map(({ kind }) => kind)).not.toContain('thaw');
      },
      refusal('backup-begin', 'no'),
    ));

  test('an export that is interrupted in the thaw has the thaw in the journal, to be undone first', () => {
    let broken = true;
    return inScene(
      async ({ fix, undo, libvirt, world }) => {
        await expect(fix()).rejects.toThrow('interrupted by SIGTERM');
        expect(world.undone().at(-1)?.kind).toBe('thaw');
        broken = false;
        await undo();
        expect(libvirt.frozen()).toBe(false);
        expect(libvirt.job()).toBeUndefined();
        expect(acts(libvirt).slice(-2)).toEqual(['guest-fsfreeze-thaw', 'domjobabort']);
      },
      {
        meddle: (command) => {
          if (command.startsWith('guest-fsfreeze-thaw') && broken)
            throw new InterruptedError('SIGTERM');
        },
      },
    );
  });

  test('a running VM is refused before the freeze while libvirt has another job', () =>
    inScene(async ({ fix, libvirt }) => {
      await fix();
      const [job, before] = [libvirt.job(), libvirt.calls.length];
      await expect(fix()).rejects.toThrow('libvirt has another job for its domain one-7 (Backup)');
      expect(libvirt.job()).toBe(job);
      expect(libvirt.calls.slice(before)).toEqual(['list', 'domstate', 'dumpxml', 'domjobinfo']);
    }));

  test('a running VM is refused before the freeze when a file was cut short', () =>
    inScene(
      async ({ fix, libvirt }) => {
        await expect(fix()).rejects.toThrow(/^disk 1 of VM 7 .* was cut short: .* is 2 MiB$/);
        expect(libvirt.calls).toEqual([]);
      },
      {},
      [disk(0), disk(1, { target: 'vdb', sizeMb: 2 })],
    ));

  test('a running VM is refused before the freeze when a layer below one was cut short', () =>
    inScene(
      async ({ fix, libvirt, world }) => {
        const image = join(world.location, '1', 'image');
        qemuImg('create', '-f', 'qcow2', image, '4M');
        qemuIo(image, 'write -P 7 0 4M');
        cloneAsQcow2Tm(world, 2, image, 'qcow2');
        truncateSync(image, 2 * MiB);
        await expect(fix()).rejects.toThrow(`the backing file ${image} of disk 2 of VM 7 was cut`);
        expect(libvirt.calls).toEqual([]);
      },
      {},
      [disk(2, { format: 'qcow2', tmMad: 'qcow2' })],
    ));

  // The VM's folder belongs to oneadmin, and root must not write through what lies in it.
  test.each([
    ['the order', '.xml'],
    ['a scratch file', '.scratch.0'],
  ])('a running VM is refused when %s would be written through a link', (_, name) =>
    inScene(async ({ fix, undo, libvirt, world }) => {
      const [target, link] = [join(world.outside, 'target'), `onevmdump-test${name}`];
      writeFileSync(target, 'as it was');
      symlinkSync(target, join(world.vmFolder, link));
      await expect(fix()).rejects.toThrow(/File exists|is there already/);
      expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
      await undo();
      const { uid } = statSync(target);
      expect([readFileSync(target, 'utf8'), uid]).toEqual(['as it was', process.getuid?.()]);
    }),
  );

  test('a running VM is refused when a scratch file would be written into a device behind a link', () =>
    inScene(async ({ fix, world }) => {
      symlinkSync('/dev/null', join(world.vmFolder, 'onevmdump-test.scratch.0'));
      await expect(fix()).rejects.toThrow('is there already');
    }));

  test('a running VM is refused before the freeze when libvirt has no backup jobs', () =>
    inScene(
      async ({ fix, libvirt, world }) => {
        await expect(fix()).rejects.toThrow(
          "libvirt on this machine has no backup jobs for it (virsh domcapabilities has no <backup supported='yes'/>)",
        );
        expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
        expect(world.undone()).toEqual([]);
      },
      { backupSupported: false },
    ));

  test('a running VM is refused before the freeze when there is no room for what the guest overwrites', () =>
    inScene(async ({ fix, libvirt, world }) => {
      // More than a test machine has; the file itself is one hole.
      await rawFile(join(world.vmFolder, 'disk.1'), 15 * 1024 ** 4);
      const settings = settingsWith({ SCRATCH_PERCENT: '100', SCRATCH_MIN_MB: '0' });
      await expect(fix(undefined, { settings })).rejects.toThrow(
        new RegExp(
          `^the file system of ${world.vmFolder} has .* free, but 15\\.0 TiB are needed .* SCRATCH_PERCENT \\(now 100\\) and SCRATCH_MIN_MB`,
        ),
      );
      expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
      expect(world.undone()).toEqual([]);
    }));

  test('a guest that QEMU has stopped for an I/O error during the backup job is resumed by the undo', () =>
    inScene(async ({ fix, undo, libvirt }) => {
      await fix();
      libvirt.stop('I/O error');
      await undo();
      expect(libvirt.paused()).toBe(false);
      expect(acts(libvirt).slice(-2)).toEqual(['domjobabort', 'resume']);
    }));

  test('a guest that somebody has paused during the backup job stays paused after the undo', () =>
    inScene(async ({ fix, undo, libvirt }) => {
      await fix();
      libvirt.stop('user');
      await undo();
      expect(libvirt.paused()).toBe(true);
    }));

  test.each(['report', 'ignore'])(
    'a running VM with a disk whose error_policy is %s needs room for all that its guest can overwrite',
    (errorPolicy) =>
      inScene(
        async ({ fix, world }) => {
          await rawFile(join(world.vmFolder, 'disk.1'), 15 * 1024 ** 4);
          const settings = settingsWith({ SCRATCH_PERCENT: '0', SCRATCH_MIN_MB: '0' });
          await expect(fix(undefined, { settings })).rejects.toThrow(
            /15\.0 TiB are needed .* has an error_policy with which QEMU would not stop the guest/,
          );
        },
        { errorPolicy },
      ),
  );

  test.each([
    ['another user', '1000\n1000 4\n', false],
    ['the same user', '4711\n1000\n', true],
    ["a member of QEMU's group", '1000\n1000 4712\n', true],
    ['root', '0\n0\n', true],
  ])(
    'a running VM whose QEMU runs as a user of its own is exported by %s or refused before the freeze',
    (_, ids, may) =>
      inScene(
        async ({ fix, libvirt, world }) => {
          const runner: Runner = {
            ...libvirt.runner,
            run: (command, options) => {
              const answer = { status: 0, stdout: Buffer.from(ids), stderr: '' };
              const asks = command.args.includes('id -u; id -G');
              return asks ? Promise.resolve(answer) : libvirt.runner.run(command, options);
            },
          };
          if (may) {
            await fix(undefined, { runner });
            return;
          }
          await expect(fix(undefined, { runner })).rejects.toThrow(
            /^QEMU runs as the user 4711 on this machine.*; this user is 1000\. Run onevmdump as one of them/,
          );
          expect(libvirt.frozen()).toBe(false);
          expect(world.undone()).toEqual([]);
        },
        { owner: '+4711:+4712' },
      ),
  );

  describe('a guest that AppArmor confines', () => {
    const place = '/var/lib/libvirt/qemu/domain-3-one-7';
    const withPlace = (runner: Runner, isWritable: boolean): Runner => ({
      ...runner,
      run: (command, options) => {
        const asks = command.program === 'test' && command.args.includes(place);
        const answer = { status: isWritable ? 0 : 1, stdout: Buffer.alloc(0), stderr: '' };
        return asks ? Promise.resolve(answer) : runner.run(command, options);
      },
    });

    test('the backup job of a guest that AppArmor confines has its socket in the folder that libvirt made for the domain', () =>
      inScene(
        async ({ fix, libvirt }) => {
          await fix(undefined, { runner: withPlace(libvirt.runner, true) });
          expect(libvirt.job()).toBe(`${place}/onevmdump-test.sock`);
        },
        { apparmor: true },
      ));

    test('a guest that AppArmor confines, so that QEMU can make no socket, is refused before the freeze with the rule that is missing', () =>
      inScene(
        async ({ fix, libvirt, world }) => {
          await expect(
            fix(undefined, { runner: withPlace(libvirt.runner, false) }),
          ).rejects.toThrow(`: ${world.location}/*/*/onevmdump-*.sock rw,`);
          expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
          expect(world.undone()).toEqual([]);
        },
        { apparmor: true },
      ));
  });

  test('the backup job of a running VM is not ended by the undo of another run', () =>
    inScene(async ({ fix, libvirt, world }) => {
      await fix();
      const handlers = undoHandlers({
        log: world.run.log,
        answerMs: 0,
        connect: () => Promise.reject(new Error('not needed')),
        runnerAt: () => libvirt.runner,
      });
      const socket = join(world.vmFolder, 'onevmdump-other.sock');
      const undo = abortBackupJob.undo({ uri: 'test:///default', domain: 'one-7', socket });
      await handlers.carryOut({ undo, on: undefined });
      expect(libvirt.job()).not.toBeUndefined();
    }));

  test.each<[string, Partial<FakeFacts>, string]>([
    ['unknown to libvirt', { disks: [] }, 'disk 0 of VM 7 (vda) is unknown to libvirt'],
    [
      'another file for libvirt',
      { disks: [{ target: 'vda', file: '/etc/hosts', format: 'raw' }] },
      'for OpenNebula, but /etc/hosts for libvirt',
    ],
    [
      'a device for libvirt',
      { disks: [{ target: 'vda', file: '/dev/null', format: 'raw', type: 'block' }] },
      'for OpenNebula, but /dev/null for libvirt',
    ],
    [
      'being copied',
      { disks: [{ target: 'vda', file: '/etc/hosts', format: 'raw', more: '<mirror/>' }] },
      'is being copied or merged by libvirt',
    ],
  ])('a running VM is refused when one of its disks is %s', (_, facts, message) =>
    inScene(async ({ fix, libvirt }) => {
      await expect(fix()).rejects.toThrow(message);
      expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
    }, facts),
  );

  test('a running VM is refused when libvirt uses another format than declared', () =>
    inWorld(async (world) => {
      const file = join(world.vmFolder, 'disk.0');
      await rawFile(file, MiB);
      const disks = [{ target: 'vda', file, format: 'qcow2' }];
      const { runner } = fakeLibvirt({ name: 'one-7', disks });
      const plans = planDumps(vm([disk(0)], running), new Map());
      await expect(snapshotDisks(plans, { ...world.run, runner })).rejects.toThrow(
        'is declared as raw, but libvirt uses it as qcow2',
      );
    }));

  test('a running VM is refused when its DEPLOY_ID is an option for virsh', () =>
    inScene(async ({ world }) => {
      const plans = planDumps(vm([disk(0)], { ...running, deployId: '--help' }), new Map());
      await expect(snapshotDisks(plans, world.run)).rejects.toThrow(
        '"--help" is not the name of a libvirt domain',
      );
    }));
});
