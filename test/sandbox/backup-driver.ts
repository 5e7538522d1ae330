// What oned and datastore/downloader.sh do with a backup datastore's driver: ask it for the size of an
// image's source, and pipe the disk from it. Read in ImageManagerActions.cc and downloader.sh of 6.10.5.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Datastore } from './datastores.ts';
import { datastoreXml } from './datastores.ts';
import { internal } from './failure.ts';
import { typeBytes } from './probe.ts';
import { cdata } from './template.ts';
import type { World } from './world.ts';

export interface BackupDriver {
  /** The built actions. */
  readonly folder: string;
  /** What oned's own environment is to its drivers. */
  readonly env: NodeJS.ProcessEnv;
  /** OpenNebula's downloader.sh, which install.sh has changed; without it, the driver is asked directly. */
  readonly downloader?: string;
}

export function isBackupUrl(path: string): boolean {
  return path.startsWith('onevmdump://');
}

function driverOf(world: World): BackupDriver {
  if (!world.backupDriver) throw new Error('the sandbox has no backup driver');
  return world.backupDriver;
}

/** The driver's `stat`. @throws Failure with its stderr */
export async function statBackup(world: World, from: Datastore, path: string): Promise<number> {
  const { folder, env } = driverOf(world);
  const data = `<DS_DRIVER_ACTION_DATA><IMAGE><PATH>${cdata(path)}</PATH></IMAGE>${await datastoreXml(from, [])}</DS_DRIVER_ACTION_DATA>`;
  const child = spawn(join(folder, 'stat'), ['1'], { env });
  child.stdin.end(Buffer.from(data).toString('base64'));
  let out = '';
  let error = '';
  child.stdout.on('data', (part) => (out += String(part)));
  child.stderr.on('data', (part) => (error += String(part)));
  const [status] = (await once(child, 'close')) as [number];
  if (status !== 0 || !/^\d+\n$/.test(out)) {
    throw internal(`Cannot parse image SIZE: ${error.trim()}`);
  }
  return Number(out);
}

/** The beginning, and then the whole into `target`. @throws Error with the driver's stderr */
export async function fetchBackup(
  world: World,
  url: string,
  target: string,
): Promise<Buffer<ArrayBuffer>> {
  const { folder, env, downloader } = driverOf(world);
  const [program, ...args] = downloader
    ? [downloader, '--nodecomp', url, '-']
    : [join(folder, 'stream_disk'), url];
  const start = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'ignore'] });
  const parts: Buffer[] = [];
  for await (const part of start.stdout as AsyncIterable<Buffer>) {
    parts.push(part);
    if (Buffer.concat(parts).length >= typeBytes) break;
  }
  const whole = spawn(program, args, { env });
  let error = '';
  whole.stderr.on('data', (part) => (error += String(part)));
  const ended = once(whole, 'close') as Promise<[number]>;
  await pipeline(whole.stdout, createWriteStream(target), { signal: world.ending });
  const [status] = await ended;
  if (status !== 0) throw new Error(`Error copying ${error.trim()}`);
  return Buffer.concat(parts).subarray(0, typeBytes);
}
