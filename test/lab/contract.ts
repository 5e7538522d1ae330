// What every storage must do, in every state: the contract of lib/storage/storage.ts as its users see it.
// contract-*.lab.ts have the storages.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { childText } from '../../lib/xml/xml.ts';
import type { Ended } from '../support/shell.ts';
import type { StandIns } from '../support/fake-programs.ts';
import { makeWorld, type World } from '../support/world.ts';
import { expectWriting, reportOf } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { readNumbers, sameInstant } from './numbers.ts';
import { runProgram } from './program.ts';
import { limits, until } from '../support/limits.ts';

/** A VM on one kind of storage, and the machine where it is exported. Its guest writes to disks 0 and 1. */
export interface ContractStorage {
  readonly vm: LabVm;
  /** Of the disks in a bundle, by DISK_ID. */
  readonly formats: ReadonlyMap<number, 'raw' | 'qcow2'>;
  /** Runs the built command there, on the VM as it is now. */
  exportVm(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended>;
  /**
   * Extracts a bundle by GNU tar into a folder here for as long as `body` runs; the bundle itself lies there, too,
   * as `bundle`. It is removed where it was.
   */
  extracted<T>(bundle: string, body: (folder: string) => Promise<T>): Promise<T>;
  /** A raw file with what a foreign tool reads of a disk now, for as long as `body` runs. */
  foreign<T>(diskId: number, body: (path: string) => Promise<T>): Promise<T>;
  /** Everything an export could leave or change in storage, libvirt, processes, journals and bundles. */
  traces(): Promise<unknown>;
  /** The processes that still see to it that the guest goes on, as a killed export leaves them. */
  watchdogs(): Promise<readonly string[]>;
  removeBundles(): Promise<void>;
  /** `onevmdump cleanup`, there. */
  cleanup(): Promise<Ended>;
  standIns(): Promise<StandIns>;
  /** Powers off what runs besides, and leaves all as it was found. */
  close(): Promise<void>;
}

/** Commands before the first of these change nothing outside, and are the same for all storages. */
const firstChange = /^(virsh|lvs|lvcreate|rbd)$/;

type Befalls = 'fail' | 'SIGTERM' | 'SIGKILL';

/** How the point in time of a running VM's disks is fixed: by one backup job, or by snapshots of the storage. */
type Way = 'job' | 'snapshots';

const wordsOf = {
  job: ['--snapshot', 'qemu'],
  snapshots: ['--snapshot', 'storage'],
} as const;

export interface ContractChoice {
  /** Those that the storage has. */
  readonly ways: readonly Way[];
  /**
   * What befalls an export at each of its commands, one after another: minutes. With ONEVMDUMP_LAB_EACH=1 all of it
   * does, on every storage and in each of its ways: hours, by hand.
   */
  readonly atEachCommand?: Partial<Record<Way, readonly Befalls[]>>;
  /** Its commands have no stand-ins. */
  readonly noStandIns?: true;
}

/** The ways that are tested: with ONEVMDUMP_LAB_EACH=1 both. */
export function waysByDefault(...ways: readonly Way[]): readonly Way[] {
  return process.env['ONEVMDUMP_LAB_EACH'] === '1' ? ['job', 'snapshots'] : ways;
}

/** The contract for one storage. */
export function describeContract(
  name: string,
  begin: () => Promise<ContractStorage>,
  chosen: ContractChoice,
): void {
  describe(`an export of a VM on ${name}`, () => {
    let storage: ContractStorage;
    let vm: LabVm;
    /** An OpenNebula to restore into. */
    let world: World;

    beforeAll(async () => {
      world = await makeWorld();
      storage = await begin();
      ({ vm } = storage);
    });
    afterAll(async () => {
      await storage.close();
      await world.close();
    });
    afterEach(() => storage.removeBundles());

    describe('that is powered off', () => {
      beforeAll(async () => {
        if (await vm.isRunning()) await vm.powerOff();
      });

      test(`an export of a VM on ${name} that is powered off has and restores the bytes that a foreign tool reads, and changes nothing`, async () => {
        const before = await storage.traces();
        const { bundle, consistency } = reportOf(await storage.exportVm([]));
        expect(consistency).toMatchObject({ level: 'offline', frozenMs: 0 });
        await expectSame(bundle);
        expect(await storage.traces()).toEqual(before);
      });
    });

    describe.each(chosen.ways)('that runs, by %s', (way) => {
      const atEachCommand = befallsOf(chosen, way);
      const words = wordsOf[way];
      let before: unknown;

      beforeAll(async () => {
        await vm.start();
        before = await storage.traces();
      });

      test(`an export by ${way} of a VM on ${name} that runs freezes the guest once, for all disks, and both file systems are clean`, async () => {
        const last = await vm.lastNumber();
        const ended = await storage.exportVm([...words, '-D']);
        const { bundle, consistency } = reportOf(ended);
        process.stderr.write(`${name}, by ${way}: frozen for ${consistency.frozenMs} ms\n`);
        const makesSnapshots = / run .*\b(lvcreate|snap create) /;
        expect(makesSnapshots.test(ended.stderr)).toBe(way === 'snapshots');
        expect(consistency.level).toBe('agent');
        expect(consistency.frozenMs).toBeGreaterThan(0);
        expect(
          ended.stderr.match(/ run (on \S+: )?virsh .*\bguest-fsfreeze-freeze\b/g),
        ).toHaveLength(1);
        await storage.extracted(bundle, async (out) => {
          const numbers = (id: number) =>
            readNumbers(join(out, `backup.disk.${id}`), storage.formats.get(id) ?? 'raw');
          const [vda, vdb] = [await numbers(0), await numbers(1)];
          expect([vda.clean, vdb.clean]).toEqual([true, true]);
          expect(sameInstant(vda, vdb)).toBe(true);
          expect(vda.last).toBeGreaterThanOrEqual(last);
        });
        expect(await storage.traces()).toEqual(before);
        await expectWriting(vm);
      });

      test(`an export by ${way} of a VM on ${name} that runs has and restores the very bytes of its point in time`, async () => {
        await vm.pauseWriter();
        try {
          const ended = await storage.exportVm([...words, '--fs-freeze', 'suspend']);
          const { bundle, consistency } = reportOf(ended);
          expect(consistency.level).toBe('suspend');
          await expectSame(bundle);
        } finally {
          await vm.continueWriter();
        }
        expect(await storage.traces()).toEqual(before);
      });

      if (atEachCommand.length === 0) return;
      test.each(atEachCommand)(
        `an export by ${way} of a VM on ${name} that runs leaves guest and storage as they were when any command gets %s`,
        async (then) => {
          const standIns = await storage.standIns();
          await standIns.reset(0, then);
          reportOf(await storage.exportVm(words, standIns.env));
          const commands = await standIns.called();
          const first = commands.findIndex((program) => firstChange.test(program)) + 1;
          expect(first).toBeGreaterThan(0);
          for (const at of placesIn(commands, first)) {
            await storage.removeBundles();
            await standIns.reset(at, then);
            const { code, stderr } = await storage.exportVm(words, standIns.env);
            const what = `${then} at command ${at}, ${commands[at - 1] ?? ''}`;
            // After the last byte the bundle is there, and is finished; what is undone then may be undone once more.
            const late = commands
              .slice(at - 1)
              .every((one) => /^(virsh|lvs|lvremove|rbd|rm|sh|stat|test)$/.test(one));
            // Where something is waited for, the last commands are not always needed.
            const missed = code === 0 && (await standIns.called()).length < at;
            const codes: readonly (number | null)[] = {
              fail: [0, 1, 4],
              SIGTERM: [143, ...(late ? [0] : [])],
              SIGKILL: [null, 137, 255],
            }[then];
            expect({ what, code, stderr, expected: missed || codes.includes(code) }).toMatchObject({
              what,
              expected: true,
            });
            if (then === 'SIGKILL' && !missed) {
              await watchdogsEnd();
              expect({ what, frozen: await vm.isFrozen() }).toEqual({ what, frozen: false });
              expect({ what, ...(await storage.cleanup()) }).toMatchObject({ what, code: 0 });
              await storage.removeBundles();
            }
            if (code === 0) await storage.removeBundles();
            // An undo that was made to fail says how to remove what is left, and cleanup does.
            if (stderr.includes('could not undo everything')) {
              expect({ what, then }).toEqual({ what, then: 'fail' });
              expect({ what, ...(await storage.cleanup()) }).toMatchObject({ what, code: 0 });
            }
            expect({ what, traces: await storage.traces() }).toEqual({ what, traces: before });
          }
          await expectWriting(vm);
        },
        limits.sweepMs,
      );
    });

    /** Resolves when a guest of a killed export goes on by itself for good, whatever was under way. */
    async function watchdogsEnd(): Promise<void> {
      const ended = async () => (await storage.watchdogs()).length === 0;
      await until(`the watchdogs of ${vm.domain} end`, ended, 250);
    }

    /** Each disk of the bundle, extracted and restored, is what a foreign tool reads of it now. */
    async function expectSame(bundle: string): Promise<void> {
      await storage.extracted(bundle, async (out) => {
        const restored = await restoreInto(world, join(out, 'bundle'));
        for (const [id, format] of storage.formats) {
          const path = join(out, `backup.disk.${id}`);
          const image = restored.get(id) ?? '';
          if (format === 'qcow2') await runProgram('qemu-img', ['check', '-f', 'qcow2', path]);
          await storage.foreign(id, async (raw) => {
            for (const one of [path, image]) {
              if (format === 'raw') await runProgram('cmp', [raw, one]);
              else await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, one]);
            }
          });
        }
      });
    }
  });
}

function befallsOf({ atEachCommand, noStandIns }: ContractChoice, way: Way): readonly Befalls[] {
  if (noStandIns) return [];
  if (process.env['ONEVMDUMP_LAB_EACH'] === '1') return ['fail', 'SIGTERM', 'SIGKILL'];
  return atEachCommand?.[way] ?? [];
}

/** Restores a bundle. @returns where the datastore put each disk, by DISK_ID */
async function restoreInto(world: World, bundle: string): Promise<ReadonlyMap<number, string>> {
  const name = `restored-${randomBytes(4).toString('hex')}`;
  const words = [
    'restore',
    bundle,
    '-n',
    name,
    '--datastore',
    '1',
    '--volatile',
    'image',
    '--json',
  ];
  const { code, stdout, stderr } = await world.run(words);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const { images } = JSON.parse(stdout) as { images: { diskId: number; imageId: number }[] };
  const sources = new Map<number, string>();
  for (const { diskId, imageId } of images) {
    const xml = await world.one.text('one.image.info', imageId, false);
    sources.set(diskId, childText(parseXml(Buffer.from(xml), 'image'), 'SOURCE') ?? '');
  }
  return sources;
}

/**
 * The numbers of the commands from `first` on. Of the many calls of a compressor these are the first and the last. By ssh
 * a login shell (sh) comes before each program, and nothing happens in between: for each program, the first of them.
 */
function placesIn(commands: readonly string[], first: number): number[] {
  const places: number[] = [];
  const shellsBefore = new Set<string>();
  for (const [index, program] of commands.entries()) {
    if (index + 1 < first) continue;
    if (/^(igzip|pigz|zstd)$/.test(program)) {
      const ends = [commands.indexOf(program), commands.lastIndexOf(program)];
      if (!ends.includes(index)) continue;
    }
    const next = commands[index + 1] ?? 'sh';
    if (program === 'sh' && next !== 'sh') {
      if (shellsBefore.has(next)) continue;
      shellsBefore.add(next);
    }
    places.push(index + 1);
  }
  return places;
}
