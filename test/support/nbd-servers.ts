// Real NBD servers for the tests: each on a Unix socket in a temporary folder of its own.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskReader } from '../../lib/read/disk-reader.ts';
import type { Extent } from '../../lib/read/extent.ts';
import { openNbdReader, type NbdReaderOptions } from '../../lib/read/nbd-reader.ts';
import { createLog } from '../../lib/report/log.ts';

export const quiet = createLog({
  script: 'test',
  debug: false,
  quiet: true,
  write: () => undefined,
});

/** A temporary folder for as long as `body` runs. */
export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'onevmdump-test-'));
  try {
    return await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a server while `body` runs; `args` gets the path of the socket it must listen on. */
async function serving<T>(
  program: string,
  args: (socket: string) => readonly string[],
  body: (socket: string, pid: number) => Promise<T>,
): Promise<T> {
  return await inFolder(async (folder) => {
    const socket = join(folder, 's');
    const child = spawn(program, args(socket), { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    try {
      while (!existsSync(socket)) {
        if (child.exitCode !== null) throw new Error(`${program}: ${stderr}`);
        await sleep(5);
      }
      await sleep(20);
      return await body(socket, child.pid ?? 0);
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
  });
}

export function withNbdkit<T>(
  args: readonly string[],
  body: (socket: string, pid: number) => Promise<T>,
): Promise<T> {
  return serving('nbdkit', (socket) => ['-f', '-r', '-U', socket, ...args], body);
}

export function withQemuNbd<T>(
  args: readonly string[],
  body: (socket: string, pid: number) => Promise<T>,
): Promise<T> {
  return serving('qemu-nbd', (socket) => ['-r', '-t', '-k', socket, ...args], body);
}

/** Opens a reader on a socket for as long as `body` runs. */
export async function reading<T>(
  socketPath: string,
  body: (reader: DiskReader) => Promise<T>,
  options: Partial<NbdReaderOptions> = {},
): Promise<T> {
  const reader = await openNbdReader({
    ...{ socketPath, exportName: '', label: 'disk 0 of VM 7', log: quiet, signal: undefined },
    ...options,
  });
  try {
    return await body(reader);
  } finally {
    await reader.close();
  }
}

/** All pieces of some extents; checks what the contract promises of pieces. */
export async function collect(reader: DiskReader, extents: Iterable<Extent>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  const left = Array.from(extents, ({ length }) => length);
  for await (const piece of reader.read(extents)) {
    const length = left.shift() ?? 0;
    if (piece.length < 1 || piece.length > 1024 * 1024 || piece.length > length) {
      throw new Error(`a piece of ${piece.length} bytes where ${length} were left of an extent`);
    }
    if (piece.length < length) left.unshift(length - piece.length);
    pieces.push(piece);
  }
  if (left.length > 0) throw new Error(`${left.length} extents were not read to their end`);
  return Buffer.concat(pieces);
}

/** The whole disk: its extents at their places, zeros between them. */
export async function wholeDisk(reader: DiskReader): Promise<Buffer> {
  const extents = await reader.extents();
  const data = await collect(reader, extents);
  const disk = Buffer.alloc(reader.virtualSize);
  let at = 0;
  for (const { offset, length } of extents) {
    data.copy(disk, offset, at, at + length);
    at += length;
  }
  return disk;
}
