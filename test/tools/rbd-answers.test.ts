import { describe, expect, test } from '@jest/globals';
import type { Runner } from '../../lib/run/runner.ts';
import { imageClients, imageSize, snapshotNames } from '../../lib/tools/rbd.ts';

/** Answers every command with this text. */
function printing(text: string): Runner {
  const output = { status: 0, stdout: Buffer.from(text), stderr: '' };
  return { run: () => Promise.resolve(output) } as unknown as Runner;
}

const asked = {
  size: (text: string) => imageSize(printing(text), {}, 'one/one-7', 'disk 0'),
  snapshots: (text: string) => snapshotNames(printing(text), {}, 'one/one-7', 'disk 0'),
  clients: (text: string) => imageClients(printing(text), {}, 'one/one-7', 'disk 0'),
};

describe('what rbd prints', () => {
  test('what rbd prints is read where it has the fields that are needed, whatever else it has', async () => {
    expect(await asked.size('{"name":"one-7","size":1048576,"objects":1}')).toBe(1048576);
    expect(await asked.snapshots('[{"id":4,"name":"a","size":1},{"name":"b"}]')).toEqual([
      'a',
      'b',
    ]);
    expect(await asked.snapshots('[]')).toEqual([]);
    expect(await asked.clients('{"watchers":[{"address":"10.0.0.1:0/1","client":1}]}')).toEqual([
      '10.0.0.1:0/1',
    ]);
  });

  test('what rbd prints may have the clients of an image as an object, as up to Ceph 13', async () => {
    const text = '{"watchers":{"watcher":{"address":"10.0.0.1:0/1"}}}';
    expect(await asked.clients(text)).toEqual(['10.0.0.1:0/1']);
    expect(await asked.clients('{"watchers":{}}')).toEqual([]);
  });

  test.each([
    ['size', '', 'cannot look at disk 0: unexpected output of rbd: it is not JSON'],
    ['size', 'null', 'the whole is not an object'],
    ['size', '{}', 'size is not a whole number'],
    ['size', '{"size":"1048576"}', 'size is not a whole number'],
    ['size', '{"size":-1}', 'size is not a whole number'],
    ['size', '{"size":1e300}', 'size is not a whole number'],
    ['snapshots', '{"a":1}', 'cannot list the snapshots of disk 0: unexpected output of rbd: the whole is not a list'],
    ['snapshots', '["a"]', '[0] is not an object'],
    ['snapshots', '[{"name":"a"},{"id":1}]', '[1].name is not a text'],
    ['clients', '[]', 'cannot see who has disk 0 open: unexpected output of rbd: the whole is not an object'],
    ['clients', '{}', 'watchers is not a list'],
    ['clients', '{"watchers":"none"}', 'watchers is not a list'],
    ['clients', '{"watchers":[{"client":1}]}', 'watchers[0].address is not a text'],
  ] as const)('what rbd prints is refused as the %s of an image when it is %j', async (question, text, message) => {
    const error = await asked[question](text).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'command-failed', exitCode: 4 });
    expect(String(error)).toContain(message);
  }); // prettier-ignore
});
