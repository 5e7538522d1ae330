// Why a disk is lost that a backup job serves, found out with a fake libvirt.
import { describe, expect, test } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openServedDisk } from '../../lib/storage/job/served-disk.ts';
import { fakeLibvirt, type FakeFacts } from '../support/fake-libvirt.ts';
import { disk, inWorld, vm } from '../support/storage-world.ts';

/** Opens disk 0 of VM 7, on whose socket nobody listens any more. @returns the error */
async function failure(
  facts: Partial<FakeFacts>,
  isDescribed: boolean,
  hasJob = true,
  hasSocket = true,
): Promise<unknown> {
  let failed: unknown;
  await inWorld(async (world) => {
    const running = vm([disk(0)], { state: 3, lcmState: 3, deployId: 'one-7' });
    const description = join(world.vmFolder, 'onevmdump-test.xml');
    if (isDescribed) writeFileSync(description, '');
    if (hasSocket) writeFileSync(join(world.vmFolder, 'sock'), '');
    const snapshot = {
      plan: { vm: running, disk: disk(0), format: 'raw' as const },
      layout: { format: 'raw' as const },
      virtualSize: 512,
      byJob: true as const,
      source: {
        socket: join(world.vmFolder, 'sock'),
        exportName: 'vda',
        virtualSize: 512,
        description,
        watch: { name: 'onevmdump-space-test-served', lowWaterMark: 1 },
      },
    };
    const job = hasJob ? { job: join(world.vmFolder, 'sock') } : {};
    const run = { ...world.run, runner: fakeLibvirt({ name: 'one-7', ...job, ...facts }).runner };
    failed = await openServedDisk(snapshot, run).then(
      () => undefined,
      (error: unknown) => error,
    );
  });
  return failed;
}

describe('a disk that a backup job served', () => {
  test('the export says that the space got low when the job was ended for that, with the folder', async () => {
    expect(await failure({}, false)).toMatchObject({
      code: 'no-space',
      exitCode: 1,
      message: expect.stringMatching(
        /^the free space of the file system of .*\/0\/7 got low while disk 0 of VM 7 was being read/,
      ),
    });
  });

  test('the export says that the guest was shut down when that has taken the job with it', async () => {
    const isOff = (command: string): void => {
      if (command.startsWith('domstate')) throw new Error('no domain');
    };
    const gone = await failure({ name: 'one-8', meddle: isOff }, true);
    expect(String(gone)).toContain('the guest of VM 7 was shut down while disk 0 of VM 7');
  });

  test('the export says that somebody has ended the job when that is so', async () => {
    const error = await failure({}, true, false);
    expect(String(error)).toContain(
      'somebody has ended the backup job of VM 7, as virsh domjobabort',
    );
  });

  test('the export says what the server said when the job was not ended by anybody', async () => {
    const error = await failure({}, true);
    expect(String(error)).toMatch(/cannot read disk 0 of VM 7: .*nobody listens on this socket$/);
    expect(error).toMatchObject({ code: 'failed' });
  });

  test('the export says that somebody has removed the socket when that is so', async () => {
    const error = await failure({}, true, true, false);
    expect(String(error)).toMatch(
      /the socket .*\/0\/7\/sock, on which QEMU serves disk 0 of VM 7, has disappeared: somebody has removed it/,
    );
    expect(error).toMatchObject({ code: 'failed', exitCode: 1 });
  });
});
