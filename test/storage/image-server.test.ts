// A real qemu-nbd here, which a host's forwarded socket leads to.
import { expect, test } from '@jest/globals';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Run } from '../../lib/run/run.ts';
import type { Runner } from '../../lib/run/runner.ts';
import { serveImage } from '../../lib/storage/image-server.ts';
import { inWorld, MiB, rawFile, type World } from '../support/storage-world.ts';

/** A run on a host whose forwarded socket leads nowhere before it was looked for `looks` times. */
function runWithSocketAfter(looks: number, { run, outside }: World): Run {
  const forwarded = join(outside, 'forwarded');
  let left = looks;
  const runner: Runner = {
    ...run.runner,
    target: { host: 'kvm1' },
    forwardSocket: () =>
      Promise.resolve({ path: forwarded, lost: () => Promise.resolve(undefined) }),
    async run(command, options) {
      const output = await run.runner.run(command, options);
      const [, socket] = command.args;
      if (command.program === 'test' && socket !== undefined && --left === 0) {
        await symlink(socket, forwarded);
      }
      return output;
    },
  };
  return { ...run, runner };
}

async function openAfter(looks: number, world: World): Promise<number> {
  const path = join(world.outside, 'disk');
  await rawFile(path, MiB, [[0, MiB]]);
  const node = { driver: 'raw', path } as const;
  const image = { node, virtualSize: MiB } as const;
  const reader = await serveImage(image, 'disk 0 of VM 7', runWithSocketAfter(looks, world));
  await reader.close();
  return reader.virtualSize;
}

test('an image server that has begun to listen after the last try is no reason to blame sshd', () =>
  inWorld(async (world) => {
    expect(await openAfter(1, world)).toBe(MiB);
  }));

test('an image server that listens and cannot be reached all the same is reported with what can be done', () =>
  inWorld(async (world) => {
    await expect(openAfter(Infinity, world)).rejects.toThrow(
      /^the socket \/tmp\/onevmdump-[0-9a-f]{16}\/nbd of .* its sshd_config does not allow it/,
    );
  }));
