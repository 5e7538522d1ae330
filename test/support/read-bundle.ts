// What the reader's tests share: bundles as the older tool and hostile hands make them, and sources
// that count what is read.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Header } from 'tar';
import type { Bundle, BundleDisk, BundleSource } from '../../lib/bundle/read/bundle.ts';
import { openFileSource } from '../../lib/bundle/location/file-source.ts';
import type { OpenedBundle } from '../../lib/bundle/read/opened-bundle.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import type { Frame } from '../../lib/bundle/format/manifest.ts';
import type { Extent } from '../../lib/read/extent.ts';
import { makeDisk, noLog } from './write-bundle.ts';

export const MiB = 1024 * 1024;

export const vmXml = Buffer.from('<VM><ID>7</ID><NAME>caf\u00e9</NAME></VM>\n');

/** Extents of all kinds: at the start, tiny, touching block borders, many. */
export const scattered: readonly Extent[] = [
  { offset: 0, length: 4096 },
  { offset: 65536, length: 512 },
  ...Array.from({ length: 60 }, (_, n) => ({
    offset: MiB + n * 40960,
    length: 4096 * (1 + (n % 5)),
  })),
  { offset: 5 * MiB, length: 1_300_000 - (1_300_000 % 4096) },
];

/** A folder as the older tool packs it: vm.xml, a sparse disk, one full of data, one that is one hole. */
export async function oldFolder(path: string): Promise<string> {
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'vm.xml'), vmXml);
  await makeDisk(join(path, 'backup.disk.0'), 8 * MiB, scattered);
  await makeDisk(join(path, 'backup.disk.1'), 300_001, [{ offset: 0, length: 300_001 }]);
  await makeDisk(join(path, 'backup.disk.10'), 3 * MiB, []);
  return path;
}

/** Opens a bundle file. */
export async function openPath(path: string, signal?: AbortSignal): Promise<OpenedBundle> {
  return openBundle(await openFileSource(path), { log: noLog, signal });
}

/** The frames of a disk of an indexed bundle. */
export async function framesOf(bundle: Bundle, diskId: number): Promise<readonly Frame[]> {
  const table = await bundle.disks.find(({ id }) => id === diskId)?.table?.();
  return [...((await table?.frames()) ?? [])];
}

/** Opens, lets `work` at it, and closes. */
export async function withBundle<T>(path: string, work: (bundle: OpenedBundle) => Promise<T>) {
  const bundle = await openPath(path);
  try {
    return await work(bundle);
  } finally {
    await bundle.close();
  }
}

/** Writes a disk as a restore does. */
export async function extract(disk: BundleDisk, path: string): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.truncate(disk.size);
    for await (const { offset, data } of disk.pieces()) {
      await file.write(data, 0, data.length, offset);
    }
  } finally {
    await file.close();
  }
}

/** Extracts all disks and lets cmp judge each against the file of its name in `folder`. */
export async function compareDisks(bundle: Bundle, folder: string, scratch: string): Promise<void> {
  for (const disk of bundle.disks) {
    const path = join(scratch, `extracted.${disk.id}`);
    await extract(disk, path);
    execFileSync('cmp', [path, join(folder, `backup.disk.${disk.id}`)]);
  }
}

/** A source over bytes in memory that counts what is read of it. */
export function memorySource(bytes: Buffer, name = 'test.tar.gz') {
  const counts = { bytes: 0, closed: false };
  const source: BundleSource = {
    name,
    size: bytes.length,
    modified: new Date(0),
    read(offset, length) {
      const read = Buffer.from(bytes.subarray(offset, offset + length));
      counts.bytes += read.length;
      return Promise.resolve(read);
    },
    close() {
      counts.closed = true;
      return Promise.resolve();
    },
  };
  return { source, counts };
}

export interface RawMember {
  readonly path: string;
  readonly data?: Buffer;
  /** Typeflag; default a plain file. */
  readonly type?: string;
  /** Size in the header; default that of the data. */
  readonly size?: number;
  /** Changes the header block before its checksum is made. */
  readonly edit?: (block: Buffer) => void;
}

/** A tar member, byte for byte as wanted. */
export function tarMember({
  path,
  data = Buffer.alloc(0),
  type = '0',
  size,
  edit,
}: RawMember): Buffer {
  const block = Buffer.alloc(512);
  new Header({ path, size: size ?? data.length, mode: 0o600, type: 'File' }).encode(block);
  block.write(type, 156, 'latin1');
  edit?.(block);
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([block, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** A PAX header with these records. */
export function paxMember(records: readonly (readonly [string, string])[]): Buffer {
  const body = records.map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length++;
    return `${length}${rest}`;
  });
  return tarMember({ path: 'PaxHeaders/x', type: 'x', data: Buffer.from(body.join('')) });
}

export const endOfArchive = Buffer.alloc(1024);

/** A whole archive. */
export function archive(...members: readonly Buffer[]): Buffer {
  return Buffer.concat([...members, endOfArchive]);
}

export const vmXmlMember = tarMember({ path: './vm.xml', data: vmXml });

/** How often this process has a file open. Jest opens and closes files of its own all the time, so only this one is counted. */
export function timesOpen(path: string): number {
  const file = realpathSync(path);
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === file;
    } catch {
      // Closed meanwhile.
      return false;
    }
  }).length;
}
