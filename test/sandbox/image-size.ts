// The SIZE of an image before it is copied: the fs driver's `stat`. Behaviour read in libfs.sh of 6.10.5.
import { spawn } from 'node:child_process';
import { open, stat } from 'node:fs/promises';
import { internal } from './failure.ts';
import { fetchHead, fetchLength, isUrl } from './http-source.ts';
import { decompressors, headBytes, mimeType, probe, typeBytes, withTemporary } from './probe.ts';
import type { World } from './world.ts';

async function fileHead(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

const accessWords: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  ENOTDIR: 'Not a directory',
};

async function urlSize(world: World, url: string): Promise<number> {
  let head: Buffer;
  try {
    await fetchHead(url, typeBytes, world.ending);
    head = await fetchHead(url, headBytes, world.ending);
  } catch {
    // The script asks `test -r` of the URL, and blames what that says.
    throw new Error(`cannot access '${url}' (Permission denied)`);
  }
  const { format, size } = await withTemporary(head, (path) => probe(world, path));
  if (format !== 'raw') return size;
  await fetchHead(url, headBytes, world.ending);
  const packed = (await withTemporary(head, mimeType)) in decompressors;
  const length = packed ? undefined : await fetchLength(url, world.ending);
  if (length === undefined) throw new Error('Unsupported remote image format');
  return length;
}

async function unpackedSize(path: string, type: string): Promise<number> {
  const [program, ...args] = decompressors[type]!;
  const child = spawn(program, [...args, path], { stdio: ['ignore', 'pipe', 'ignore'] });
  let size = 0;
  for await (const part of child.stdout as AsyncIterable<Buffer>) size += part.length;
  return size;
}

async function pathSize(world: World, path: string): Promise<number> {
  try {
    await stat(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw new Error(`cannot access '${path}' (${accessWords[code] ?? code})`, { cause: error });
  }
  const { format, size } = await withTemporary(await fileHead(path), (head) => probe(world, head));
  if (format !== 'raw') return size;
  const type = await mimeType(path);
  return type in decompressors ? unpackedSize(path, type) : (await probe(world, path)).size;
}

/** The driver's `stat`: SIZE in MiB. @throws Failure 8192, which one.image.allocate passes on at once. */
export async function statSource(world: World, path: string): Promise<number> {
  try {
    const size = isUrl(path) ? await urlSize(world, path) : await pathSize(world, path);
    if (size === 0) throw new Error('Runtime error during size estimation');
    return Math.ceil(size / 1048576);
  } catch (error) {
    throw internal(`Cannot parse image SIZE: ${(error as Error).message}`);
  }
}
