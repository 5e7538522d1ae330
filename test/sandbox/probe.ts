// Looking at a file's first bytes, the way OpenNebula's drivers do: `qemu-img info` and `file`.
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './run.ts';
import type { World } from './world.ts';

/** How much of a source is looked at first, and how much `file` looks at. */
export const headBytes = 65536;
export const typeBytes = 1024 * 1024;

interface QemuInfo {
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'backing-filename'?: string;
  readonly 'format-specific'?: { readonly data?: { readonly 'data-file'?: string } };
}

export interface Probe {
  readonly format: string;
  /** Virtual size in bytes. */
  readonly size: number;
}

/** `qemu-img info` without being told the format, as OpenNebula's drivers do; backing files are noted. */
export async function probe(world: World, path: string): Promise<Probe> {
  const info = JSON.parse(await run('qemu-img', ['info', '--output=json', path])) as QemuInfo;
  const named = [info['backing-filename'], info['format-specific']?.data?.['data-file']];
  for (const backing of named) {
    if (backing !== undefined) world.probedBackingFiles.push({ probed: path, backing });
  }
  return { format: info.format, size: info['virtual-size'] };
}

/** What downloader.sh unpacks on the way, by MIME type; the file name goes last. */
export const decompressors: Readonly<Record<string, readonly [string, ...string[]]>> = {
  'application/gzip': ['gunzip', '-c'],
  'application/x-gzip': ['gunzip', '-c'],
  'application/x-bzip2': ['bunzip2', '-qc'],
  'application/x-xz': ['unxz', '-c'],
};
/** What it would unpack into a folder afterwards. */
export const archives = ['application/x-tar', 'application/zip'];

/** What `file` takes it for: OpenNebula unpacks what looks packed. */
export async function mimeType(path: string): Promise<string> {
  return (await run('file', ['-bL', '--mime-type', '--', path])).trim().toLowerCase();
}

export async function withTemporary<T>(
  bytes: Buffer,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(tmpdir(), `sandbox-head-${randomBytes(8).toString('hex')}`);
  await writeFile(path, bytes, { mode: 0o600 });
  try {
    return await use(path);
  } finally {
    await rm(path, { force: true });
  }
}
