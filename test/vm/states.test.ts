import { describe, expect, test } from '@jest/globals';
import { activityOf, stateName } from '../../lib/vm/states.ts';

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
  ] as const)('STATE %i, LCM_STATE %i is %s: %s', (state, lcmState, name, activity) => {
    expect(stateName(state, lcmState)).toBe(name);
    expect(activityOf(state, lcmState)).toBe(activity);
  });
});
