import { describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { identify, isAlive } from '../../lib/run/process-identity.ts';

describe('a process identity', () => {
  test('is alive while the process runs and dead afterwards', async () => {
    const child = spawn('sleep', ['60']);
    const identity = await identify(child.pid!);
    expect(await isAlive(identity)).toBe(true);
    child.kill();
    await once(child, 'exit');
    expect(await isAlive(identity)).toBe(false);
  });

  test('is not that of another process with the same number', async () => {
    const identity = await identify(process.pid);
    expect(await isAlive({ ...identity, startTime: '1' })).toBe(false);
  });

  test('does not survive a reboot', async () => {
    const identity = await identify(process.pid);
    expect(await isAlive({ ...identity, bootId: 'another' })).toBe(false);
  });
});
