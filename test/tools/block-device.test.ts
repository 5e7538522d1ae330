// Who uses a block device: the real script with real loop devices, and what the kernel says about devices that are part
// of others, in a mount namespace of its own.
import { describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Runner } from '../../lib/run/runner.ts';
import { blockDevice, userOfDevice } from '../../lib/tools/block-device.ts';
import { hasLoopDevices, withLoopDevice } from '../support/loop-device.ts';
import { inFolder, quiet } from '../support/nbd-servers.ts';

const runner = localRunner(quiet);

/** Programs see `/sys/dev/block` as the script has made it. */
function withSysfs(setUp: string): Runner {
  const script = `mount -t tmpfs none /sys/dev/block; cd /sys/dev/block; ${setUp}; exec "$@"`;
  return {
    ...runner,
    run: ({ program, args }, options) =>
      runner.run(
        { program: 'unshare', args: ['-m', 'sh', '-ec', script, 'sh', program, ...args] },
        options,
      ),
  };
}

(hasLoopDevices ? describe : describe.skip)('the user of a block device', () => {
  test('a block device has a size in bytes, and is used by nobody at first', () =>
    inFolder((folder) =>
      withLoopDevice(join(folder, 'file'), 65_536, async (path) => {
        const device = await blockDevice(runner, path, 'it');
        expect(device).toEqual({ numbers: expect.stringMatching(/^7:\d+$/), bytes: 65_536 });
        expect(await userOfDevice(runner, device, 'it')).toBeUndefined();
      }),
    ));

  test('a block device or its partition that is part of another device is used by that', async () => {
    const whole = withSysfs('mkdir -p 250:0/holders/dm-3');
    expect(await userOfDevice(whole, { numbers: '250:0' }, 'it')).toBe('part of dm-3');
    const partition = withSysfs(
      'mkdir -p 250:0/x1/holders/md0; echo 1 >250:0/x1/partition; echo 250:1 >250:0/x1/dev; ln -s 250:0/x1 250:1',
    );
    expect(await userOfDevice(partition, { numbers: '250:0' }, 'it')).toBe('part of md0');
  });

  test('a block device whose partition a process has open is used by that process', () =>
    inFolder((folder) =>
      withLoopDevice(join(folder, 'file'), 65_536, async (path) => {
        const { numbers } = await blockDevice(runner, path, 'it');
        const around = withSysfs(
          `mkdir -p 250:0/x1; echo 1 >250:0/x1/partition; echo ${numbers} >250:0/x1/dev`,
        );
        const child = spawn('bash', ['-c', 'exec 5<"$1"; echo; exec sleep 600', 'bash', path]);
        const ended = once(child, 'close');
        await once(child.stdout, 'data');
        const seen = await userOfDevice(around, { numbers: '250:0' }, 'it');
        child.kill();
        await ended;
        expect(seen).toBe(`open in process ${child.pid} (sleep)`);
      }),
    ));

  test('a path that is no block device is an error that names it', async () => {
    await expect(blockDevice(runner, '/dev/null', 'disk 0')).rejects.toThrow(
      'cannot look at disk 0: /dev/null is not a block device on this machine',
    );
  });
});
