import { describe, expect, test } from '@jest/globals';
import { UnsupportedError } from '../../lib/report/errors.ts';
import { snapshotLimitMs } from '../../lib/storage/point-in-time.ts';
import { planDumps, takesRawAsIs, takesTpm } from '../../lib/storage/registry.ts';
import type { Disk, Vm } from '../../lib/vm/vm.ts';
import { disk, vm } from '../support/storage-world.ts';

const plan = (one: Partial<Disk>, facts: Partial<Vm> = {}): unknown =>
  planDumps(vm([disk(0, one)], facts), new Map());

const history = (tmMad: string): Partial<Vm> => ({
  history: { seq: 0, stime: undefined, hostname: 'one', tmMad, datastoreId: 0 },
});

test.each([
  [1, 10],
  [5, 10],
  [12, 24],
  [40, 30],
])('a guest of %d disks waits for its snapshots for %d s at most', (disks, seconds) => {
  expect(snapshotLimitMs(disks)).toBe(seconds * 1000);
});

describe('a disk on files', () => {
  test.each(['ssh', 'local', 'shared', 'qcow2'])(
    'a disk on files of TM_MAD %s can be planned',
    (tmMad) => {
      expect(plan({ tmMad })).toHaveLength(1);
    },
  );

  test.each([
    ['powered off', 8, 0],
    ['undeployed', 9, 0],
    ['powered off and being backed up', 8, 70],
    ['powered off and being backed up by OpenNebula 6.10', 3, 70],
  ])('a disk on files of a VM that is %s can be planned', (_, state, lcmState) => {
    expect(plan({}, { state, lcmState })).toHaveLength(1);
  });

  test.each([
    ['runs', 3, 3],
    ['runs and is being backed up', 3, 69],
  ])('a disk on files of a VM that %s can be planned', (_, state, lcmState) => {
    expect(plan({}, { state, lcmState })).toHaveLength(1);
  });

  test('a disk on files of a VM in any other state is refused, with the state', () => {
    expect(() => plan({}, { state: 3, lcmState: 4 })).toThrow(
      'disk 0 of VM 7 is a file, which cannot be dumped in state MIGRATE',
    );
  });

  test('a disk on files without FORMAT has the format that oned knows of its image', () => {
    const bare = vm([disk(0, { format: undefined })]);
    const [found] = planDumps(bare, new Map([[0, { format: 'qcow2' }]]));
    expect(found?.plan.format).toBe('qcow2');
  });
});

describe('a folder that the host shares with its guest (FILESYSTEM)', () => {
  const shared = vm([disk(0), disk(1, { type: 'FILESYSTEM', format: undefined, tmMad: 'shared' })]);

  test('a folder that the host shares with its guest (FILESYSTEM) is no disk, and left out', () => {
    expect(planDumps(shared, new Map()).map(({ plan: { disk: one } }) => one.id)).toEqual([0]);
  });

  test('a folder that the host shares with its guest (FILESYSTEM) is refused when it is asked for by its number', () => {
    expect(() => planDumps(shared, new Map(), [1])).toThrow(
      'disk 1 of VM 7 is a folder that its host shares with it (FILESYSTEM), and cannot be dumped',
    );
  });
});

describe('the storage of a disk', () => {
  test.each(['purefa', 'vcenter', 'constructor', ''])(
    'the storage of a disk of TM_MAD "%s" is refused by this name, or for want of one',
    (tmMad) => {
      const facts = { tmMadSystem: undefined, history: undefined };
      expect(() => plan({ tmMad }, facts)).toThrow(UnsupportedError);
      expect(() => plan({ tmMad }, facts)).toThrow(tmMad === '' ? 'has no TM_MAD' : tmMad);
    },
  );

  test('the storage of a disk is that of its own TM_MAD, and not of the last history record', () => {
    expect(plan({ tmMad: 'shared' }, history('vcenter'))).toHaveLength(1);
    expect(() => plan({ tmMad: 'vcenter' }, history('ssh'))).toThrow('TM_MAD vcenter');
  });

  test('the storage of a disk is that of the history record when the disk names none', () => {
    expect(plan({ tmMad: undefined }, history('ssh'))).toHaveLength(1);
    expect(() => plan({ tmMad: undefined }, history('purefa'))).toThrow('TM_MAD purefa');
  });

  test.each(['fs', 'swap', 'FS'])(
    'the storage of a volatile disk (%s) is the system datastore’s',
    (type) => {
      expect(plan({ type, tmMad: 'vcenter' }, history('ssh'))).toHaveLength(1);
      expect(() => plan({ type, tmMad: 'ssh' }, history('vcenter'))).toThrow('TM_MAD vcenter');
    },
  );

  test('the storage of a volatile disk is TM_MAD_SYSTEM where the VM has one', () => {
    const facts = { ...history('vcenter'), tmMadSystem: 'ssh' };
    expect(plan({ type: 'fs', tmMad: 'vcenter' }, facts)).toHaveLength(1);
  });

  test('the storage of a disk of a VM that was never deployed is nowhere', () => {
    expect(() => plan({}, { history: undefined })).toThrow('was never deployed');
  });
});

// Read in tm_mad/<name>/restore of OpenNebula 7.4.
describe("OpenNebula's own restore of a disk", () => {
  test.each<[tmMad: string | undefined, raw: boolean, tpm: boolean]>([
    ['ssh', true, true],
    ['qcow2', true, true],
    ['ceph', false, true],
    ['fs_lvm_ssh', false, true],
    ['fs_lvm', false, false],
    // It would take the state of a vTPM for disk 0.
    ['lvm', false, false],
    ['dev', false, false],
    ['of_tomorrow', false, false],
    [undefined, false, false],
  ])(
    "OpenNebula's own restore on TM %s takes a raw disk as it is: %s, and the state of a vTPM: %s",
    (tmMad, raw, tpm) => {
      expect([takesRawAsIs(tmMad), takesTpm(tmMad)]).toEqual([raw, tpm]);
    },
  );
});
