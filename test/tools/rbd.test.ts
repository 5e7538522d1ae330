// rbd, as a fake on PATH: the exact words of each command, how its answers are read, and how a failure reads.
import { describe, expect, test } from '@jest/globals';
import {
  createRbdSnapshot,
  diffCommand,
  exportDiffCommand,
  imageClients,
  imageSize,
  isMissing,
  removeSnapshot,
  snapshotNames,
} from '../../lib/tools/rbd.ts';
import { withFakes } from './fake-on-path.ts';

const access = { user: 'libvirt', keyfile: '/etc/a key', conf: '/etc/ceph/two.conf' };
const reach = ['rbd', '--id', 'libvirt', '--keyfile', '/etc/a key', '--conf', '/etc/ceph/two.conf'];

/** A fake that prints this. */
const printing = (text: string) => ({ rbd: `cat <<'END'\n${text}\nEND` });
/** A fake that fails as rbd does. */
const failing = (status: number, says: string) => ({ rbd: `echo '${says}' >&2; exit ${status}` });

test('commands of rbd have only the options to reach a cluster that the disk gives', () => {
  expect(diffCommand({}, 'one/one-1-7-0@s')).toEqual({
    program: 'rbd',
    args: ['diff', '--format', 'json', 'one/one-1-7-0@s'],
  });
  expect(exportDiffCommand(access, 'one/one-1-7-0')).toEqual({
    program: 'rbd',
    args: [...reach.slice(1), 'export-diff', '--no-progress', 'one/one-1-7-0', '-'],
  });
});

describe('the size of an RBD image', () => {
  test('the size of an RBD image is asked for in JSON', () =>
    withFakes(printing('{"name":"one-1","size":1099511627776}'), async (fakes) => {
      expect(await imageSize(fakes.runner, access, 'one/one-1', 'disk 0')).toBe(2 ** 40);
      expect(await fakes.calls()).toEqual([[...reach, 'info', '--format', 'json', 'one/one-1']]);
    }));

  test('an RBD image that is missing is told from a cluster that cannot be reached', async () => {
    const asked = (status: number, says: string): Promise<unknown> =>
      withFakes(failing(status, says), ({ runner }) =>
        imageSize(runner, access, 'one/one-1', 'disk 0').catch((error: unknown) => error),
      );
    const missing = await asked(2, 'rbd: error opening image one-1: (2) No such file or directory');
    expect(missing).toHaveProperty(
      'message',
      'cannot look at disk 0: rbd: error opening image one-1: (2) No such file or directory',
    );
    expect(isMissing(missing)).toBe(true);
    for (const status of [2, 13]) {
      const refused = await asked(status, "rbd: couldn'\\''t connect to the cluster!");
      expect(refused).toHaveProperty(
        'message',
        "cannot look at disk 0: rbd: couldn't connect to the cluster!",
      );
      expect(isMissing(refused)).toBe(false);
    }
  });
});

describe('the snapshots of an RBD image', () => {
  test('the snapshots of an RBD image are listed by name', () =>
    withFakes(printing('[{"id":4,"name":"a b"},{"id":5,"name":"@x"}]'), async (fakes) => {
      expect(await snapshotNames(fakes.runner, {}, 'one/i', 'disk 0')).toEqual(['a b', '@x']);
      expect(await fakes.calls()).toEqual([['rbd', 'snap', 'ls', '--format', 'json', 'one/i']]);
    }));

  test('an RBD snapshot is created by a command that Ceph 14 knows as well', () =>
    withFakes({ rbd: '' }, async (fakes) => {
      await createRbdSnapshot(fakes.runner, access, 'one/i', 'onevmdump-x', 'disk 0');
      expect(await fakes.calls()).toEqual([[...reach, 'snap', 'create', 'one/i@onevmdump-x']]);
    }));

  test('an RBD snapshot that cannot be created is named with the disk and the reason', () =>
    withFakes(failing(17, 'rbd: failed to create snapshot: (17) File exists'), async (fakes) => {
      await expect(createRbdSnapshot(fakes.runner, access, 'one/i', 's', 'disk 0')).rejects.toThrow(
        'cannot create the snapshot s of disk 0: rbd: failed to create snapshot: (17) File exists',
      );
    }));

  test('removing an RBD snapshot says whether there was one', async () => {
    await withFakes({ rbd: '' }, async (fakes) => {
      expect(await removeSnapshot(fakes.runner, access, 'one/i', 's', 'disk 0')).toBe(true);
      expect(await fakes.calls()).toEqual([[...reach, 'snap', 'rm', '--no-progress', 'one/i@s']]);
    });
    await withFakes(failing(2, 'rbd: (2) No such file or directory'), async ({ runner }) => {
      expect(await removeSnapshot(runner, access, 'one/i', 's', 'disk 0')).toBe(false);
    });
    // Ceph 16, with a key whose file is missing: the snapshot may well be there.
    const unreached = "rbd: couldn'\\''t connect to the cluster!";
    await withFakes(failing(2, unreached), async ({ runner }) => {
      await expect(removeSnapshot(runner, access, 'one/i', 's', 'disk 0')).rejects.toThrow(
        "cannot remove the snapshot s of disk 0: rbd: couldn't connect to the cluster!",
      );
    });
    await withFakes(failing(16, 'rbd: snapshot is protected'), async ({ runner }) => {
      await expect(removeSnapshot(runner, access, 'one/i', 's', 'disk 0')).rejects.toThrow(
        'cannot remove the snapshot s of disk 0: rbd: snapshot is protected',
      );
    });
  });
});

describe('the clients of an RBD image', () => {
  test.each([
    ['Ceph 14 and newer', '{"watchers":[{"address":"10.0.0.1:0/1"},{"address":"[::1]:0/2"}]}'],
    ['Ceph 13', '{"watchers":{"watcher":{"address":"10.0.0.1:0/1"},"w2":{"address":"[::1]:0/2"}}}'],
  ])('the clients of an RBD image are read from the answer of %s', (_version, text) =>
    withFakes(printing(text), async (fakes) => {
      expect(await imageClients(fakes.runner, {}, 'one/i', 'disk 0')).toEqual([
        '10.0.0.1:0/1',
        '[::1]:0/2',
      ]);
      expect(await fakes.calls()).toEqual([['rbd', 'status', '--format', 'json', 'one/i']]);
    }),
  );
});
