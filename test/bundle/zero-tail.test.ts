// Bundles that were padded with zeros: by tapes, `dd conv=sync`, block stores.
import { execFileSync } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import { openSshSource } from '../../lib/bundle/location/ssh-source.ts';
import { verifyBundle } from '../../lib/bundle/read/verify.ts';
import { withoutZeroTail } from '../../lib/bundle/compression/frame-walk.ts';
import { ZstdWalk } from '../../lib/bundle/compression/zstd-walk.ts';
import { BundleError } from '../../lib/report/errors.ts';
import { silent } from '../../lib/report/progress.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { connectionsTo, useSshd } from '../support/ssh-support.ts';
import { startSshd } from '../support/sshd.ts';
import { compareDisks, extract, memorySource, MiB, oldFolder, scattered, withBundle } from '../support/read-bundle.ts'; // prettier-ignore
import { makeDisk, noise, noLog, testFolder, tool, writeBundle } from '../support/write-bundle.ts';

/** Whether a VM can be made of it is another question. */
const any = () => Promise.resolve();

const folder = testFolder();
const at = (name: string) => join(folder.path, name);
afterAll(folder.remove);

const methods = ['gzip', 'zstd', 'none'] as const;
const packers = { gzip: 'gzip -c', zstd: 'zstd -cq', none: 'cat' } as const;
const paddings = [1, 3, 511, 512, 4096, 3 * MiB + 7];

beforeAll(async () => {
  await makeDisk(at('disk'), 8 * MiB, scattered);
  await oldFolder(at('old'));
  for (const method of methods) {
    await writeBundle(at(`indexed.${method}`), await pickCompressor({ method }), [
      { path: at('disk'), virtualSize: 8 * MiB, extents: scattered, layout: { format: 'raw' } },
    ]);
    tool('sh', '-c', `tar -C ${at('old')} -cSf - ./vm.xml ./backup.disk.0 ./backup.disk.1 ./backup.disk.10 | ${packers[method]} > ${at(`scanned.${method}`)}`); // prettier-ignore
  }
});

function padded(name: string, zeros: number): string {
  writeFileSync(at('padded'), Buffer.concat([readFileSync(at(name)), Buffer.alloc(zeros)]));
  return at('padded');
}

async function verify(bytes: Buffer) {
  return verifyBundle(memorySource(bytes, 'b').source, {
    log: noLog,
    progress: silent,
    restorable: any,
  });
}

describe.each(methods)('a %s bundle with zeros behind its end', (method) => {
  test.each(paddings)(
    `a ${method} bundle with zeros after its end is opened by its index in spite of %d zeros`,
    async (zeros) => {
      await withBundle(padded(`indexed.${method}`, zeros), async (bundle) => {
        expect(bundle.indexed).toBe(true);
        await extract(bundle.disks[0]!, at('out'));
        tool('cmp', at('out'), at('disk'));
      });
    },
  );

  test.each(paddings)(
    `a ${method} bundle with zeros after its end is read without an index in spite of %d zeros`,
    async (zeros) => {
      await withBundle(padded(`scanned.${method}`, zeros), async (bundle) => {
        await compareDisks(bundle, at('old'), folder.path);
      });
    },
  );

  test.each(['indexed', 'scanned'])(
    `a ${method} bundle with zeros after its end is verified when it is %s`,
    async (kind) => {
      const bytes = readFileSync(at(`${kind}.${method}`));
      await expect(verify(Buffer.concat([bytes, Buffer.alloc(10_000)]))).resolves.toMatchObject({
        indexed: kind === 'indexed',
      });
    },
  );

  test.each(['indexed', 'scanned'])(
    `a ${method} bundle is refused when something follows the zeros after its end, %s`,
    async (kind) => {
      const bytes = readFileSync(at(`${kind}.${method}`));
      for (const more of [Buffer.from('x'), bytes, noise(5000)]) {
        const changed = Buffer.concat([bytes, Buffer.alloc(700), more]);
        await expect(verify(changed)).rejects.toThrow(BundleError);
      }
    },
  );

  test(`a ${method} bundle with zeros after its end is read from the front, and verified, with more zeros than are searched for its index`, async () => {
    const path = padded(`indexed.${method}`, 0);
    truncateSync(path, readFileSync(path).length + 20 * MiB);
    await withBundle(path, async (bundle) => {
      expect(bundle.indexed).toBe(false);
      await extract(bundle.disks[0]!, at('out'));
      tool('cmp', at('out'), at('disk'));
    });
    await expect(verify(readFileSync(path))).resolves.toMatchObject({ indexed: true });
  });
});

test('an uncompressed bundle with zeros after its end that was compressed as a whole is read', async () => {
  tool('sh', '-c', `gzip -c ${at('indexed.none')} > ${at('again.gz')}`);
  await withBundle(at('again.gz'), async (bundle) => {
    expect(bundle.indexed).toBe(false);
    await extract(bundle.disks[0]!, at('out'));
    tool('cmp', at('out'), at('disk'));
  });
});

test('bundles padded with zeros are read on another machine by a few of their bytes', async () => {
  const sshd = await startSshd();
  const restorePath = useSshd(sshd);
  const host = connectionsTo(sshd.host);
  try {
    for (const method of methods) {
      for (const kind of ['indexed', 'scanned']) {
        const source = await openSshSource(
          host.runner,
          padded(`${kind}.${method}`, 5_000_000),
          'h:b',
        );
        const bundle = await openBundle(source, { log: noLog });
        expect(bundle.indexed).toBe(kind === 'indexed');
        await extract(bundle.disks[0]!, at('out'));
        tool('cmp', at('out'), kind === 'indexed' ? at('disk') : at('old/backup.disk.0'));
        await bundle.close();
      }
    }
  } finally {
    await host.close();
    restorePath();
    await sshd.stop();
  }
});

describe('the end of zstd frames is found', () => {
  const text = noise(40_000);
  const frames = {
    'with a checksum': execFileSync('zstd', ['-c', '--check'], { input: text }),
    'without a checksum': execFileSync('zstd', ['-c', '--no-check'], { input: text }),
    'that stand for zeros': execFileSync('zstd', ['-c', '--no-check'], {
      input: Buffer.alloc(MiB),
    }),
    'of nothing': execFileSync('zstd', ['-c'], { input: '' }),
    'with their size': execFileSync('zstd', ['-c', `--stream-size=${text.length}`], {
      input: text,
    }),
    'of a long window': execFileSync('zstd', ['-c', '--long=27', '--ultra', '-20'], {
      input: text,
    }),
    'behind a skippable one': Buffer.concat([
      Buffer.from('502a4d1803000000000000', 'hex'),
      execFileSync('zstd', ['-c'], { input: text }),
    ]),
  };

  test.each(Object.entries(frames))(
    'the end of zstd frames is found %s, in pieces of any size',
    async (_name, bytes) => {
      const all = Buffer.concat([bytes, bytes]);
      for (const piece of [1, 7, 1000, 1 << 20]) {
        async function* pieces() {
          const file = Buffer.concat([all, Buffer.alloc(1000)]);
          for (let from = 0; from < file.length; from += piece) {
            yield await Promise.resolve(file.subarray(from, from + piece));
          }
        }
        const found: Buffer[] = [];
        for await (const chunk of withoutZeroTail(pieces(), new ZstdWalk())) found.push(chunk);
        expect(Buffer.concat(found).equals(all)).toBe(true);
      }
    },
  );
});
