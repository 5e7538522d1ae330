import { describe, expect, test } from '@jest/globals';
import { activityOf, stateName, workBefore } from '../../lib/vm/states.ts';

describe('states', () => {
  test.each([
    [3, 3, 'RUNNING', 'running'],
    [8, 0, 'POWEROFF', 'offline'],
    [9, 0, 'UNDEPLOYED', 'offline'],
    [3, 69, 'BACKUP', 'running'],
    [3, 70, 'BACKUP_POWEROFF', 'offline'],
    [8, 70, 'POWEROFF', 'offline'],
    [5, 0, 'SUSPENDED', undefined],
    [4, 0, 'STOPPED', undefined],
    [3, 16, 'UNKNOWN', undefined],
    [3, 2, 'BOOT', undefined],
    [1, 0, 'PENDING', undefined],
    [6, 0, 'DONE', undefined],
    [99, 0, 'STATE 99', undefined],
    [3, 999, 'ACTIVE, LCM_STATE 999', undefined],
  ] as const)('a VM in STATE %i, LCM_STATE %i is %s: %s', (state, lcmState, name, activity) => {
    expect(stateName(state, lcmState)).toBe(name);
    expect(activityOf(state, lcmState)).toBe(activity);
  });
});

describe('the state from which a VM came', () => {
  const history = { seq: 3, stime: undefined, hostname: 'kvm1', tmMad: 'ssh', datastoreId: 0 };
  const running = { state: 3, lcmState: 3, history };
  test.each([
    [69, 'BACKUP'],
    [4, 'MIGRATE'],
    [16, 'UNKNOWN'],
    [17, 'HOTPLUG'],
    [57, 'DISK_SNAPSHOT'],
  ])(
    'the state from which a VM came tells that a running VM ran before (LCM_STATE %d)',
    (lcmState, name) => {
      expect(workBefore(running, { state: 3, lcmState })).toBe(name);
    },
  );

  test.each([2, 20, 19, 32, 3])(
    'the state from which a VM came tells that a VM was started (LCM_STATE %d)',
    (lcmState) => {
      expect(workBefore(running, { state: 3, lcmState })).toBeUndefined();
    },
  );

  test.each([
    ['is not new after a pause that OpenNebula has noticed', 5, true, 'SUSPENDED'],
    ['is new when a user has resumed the VM', 5, false, undefined],
    ['is new when the guest was shut down and started past OpenNebula', 8, true, undefined],
  ])('the state RUNNING %s', (_, state, foundAgain, name) => {
    const now = { ...running, history: { ...history, foundAgain } };
    expect(workBefore(now, { state, lcmState: 0 })).toBe(name);
  });

  test('the state from which a VM came may not be known', () => {
    expect(workBefore(running, undefined)).toBeUndefined();
  });
});
