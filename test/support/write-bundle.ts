// What the writer's tests share: disks made of known bytes, sinks, and reading with foreign tools.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFileSink } from '../../lib/bundle/location/file-sink.ts';
import { partName } from '../../lib/vm/names.ts';
import type { FrameCodec } from '../../lib/bundle/write/compressor.ts';
import type { DiskLayout } from '../../lib/bundle/format/manifest.ts';
import type { About, ManifestDisk } from '../../lib/bundle/format/manifest.ts';
import { diskMember } from '../../lib/vm/names.ts';
import { BundleWriter } from '../../lib/bundle/write/writer.ts';
import type { DiskReader } from '../../lib/read/disk-reader.ts';
import type { Extent } from '../../lib/read/extent.ts';
import { Extents } from '../../lib/read/extents.ts';
import type { Log } from '../../lib/report/log.ts';
import { silent } from '../../lib/report/progress.ts';

export const noLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Frames as they are. */
export const noCompression: FrameCodec = {
  compression: 'none',
  level: 0,
  name: 'no compression',
  startsPrograms: false,
  choices: [],
};

/** A folder for one test file; `remove` belongs into `afterAll`. */
export function testFolder() {
  const path = mkdtempSync(join(tmpdir(), 'onevmdump-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs a foreign tool; its stdout. */
export function tool(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
}

/** A reader of a file whose extents are given. */
export async function fileReader(
  path: string,
  virtualSize: number,
  extents: readonly Extent[],
): Promise<DiskReader> {
  const file = await open(path, 'r');
  return {
    virtualSize,
    extents: () => Promise.resolve(Extents.of(extents)),
    async *read(wanted) {
      for (const { offset, length } of wanted) {
        for (let at = 0; at < length; at += 1 << 20) {
          const buffer = Buffer.allocUnsafeSlow(Math.min(1 << 20, length - at));
          const { bytesRead } = await file.read(buffer, 0, buffer.length, offset + at);
          if (bytesRead !== buffer.length) throw new Error('short read');
          yield buffer;
        }
      }
    },
    // Whoever still needs a piece that was given back gets rubbish.
    recycle: (piece) => void piece.fill(0xaa),
    close: () => file.close(),
  };
}

/** Bytes that hardly compress, the same ones for the same seed. */
export function noise(length: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed >>> 0 || 1;
  for (let n = 0; n < words.length; n++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[n] = state >>> 0;
  }
  return Buffer.from(words.buffer, 0, length);
}

/** Writes a sparse file with noise in its extents. */
export async function makeDisk(path: string, virtualSize: number, extents: readonly Extent[]) {
  await writeFile(path, '');
  const file = await open(path, 'r+');
  await file.truncate(virtualSize);
  for (const { offset, length } of extents)
    await file.write(noise(length, offset + 1), 0, length, offset);
  await file.close();
}

export interface TestDisk {
  readonly path: string;
  readonly virtualSize: number;
  readonly extents: readonly Extent[];
  readonly layout: DiskLayout;
}

/** What about.json of a test's bundle says. */
export function aboutOf(
  disks: readonly (DiskLayout & { readonly virtualSize: number; readonly id?: number })[],
  more: Partial<About> = {},
): About {
  return {
    format: 'onevmdump',
    version: 1,
    id: '01234567-89ab-cdef-0123-456789abcdef',
    tool: { name: 'onevmdump', version: '0.0.0' },
    created: '2026-01-02T03:04:05.678Z',
    vm: { id: 7, name: 'test', state: 'POWEROFF' },
    consistency: { level: 'offline', at: '2026-01-02T03:04:05Z', frozenMs: 0 },
    disks: disks.map((disk, n) => {
      const id = disk.id ?? n;
      return { ...disk, id, member: diskMember(id) };
    }),
    ...more,
  };
}

/** Writes a whole bundle with these disks and commits it. */
export async function writeBundle(
  path: string,
  codec: FrameCodec,
  testDisks: readonly TestDisk[],
  {
    vmXml = Buffer.from('<VM><ID>7</ID></VM>\n'),
    nvram,
    ...more
  }: Partial<Pick<About, 'vm' | 'cloud'>> & {
    readonly vmXml?: Buffer;
    readonly nvram?: Buffer;
  } = {},
) {
  const sink = await createFileSink(path, partName(path));
  const writer = new BundleWriter(sink, codec, {
    created: new Date('2026-01-02T03:04:05.678Z'),
    log: noLog,
  });
  try {
    await writer.addFile('./vm.xml', vmXml);
    const about = aboutOf(
      testDisks.map(({ virtualSize, layout }) => ({ ...layout, virtualSize })),
      more,
    );
    await writer.addAbout(about);
    if (nvram) await writer.addFile('./nvram', nvram);
    const disks: ManifestDisk[] = [];
    for (const [id, { path: file, virtualSize, extents, layout }] of testDisks.entries()) {
      const reader = await fileReader(file, virtualSize, extents);
      const written = await writer
        .addDisk({ id, ...layout }, reader, silent.begin('', 0))
        .finally(() => reader.close());
      disks.push({ id, member: diskMember(id), ...layout, ...written });
    }
    const { size } = await writer.finish(disks);
    await sink.commit();
    return { size, disks };
  } finally {
    await writer.abort();
    await sink.discard();
  }
}
