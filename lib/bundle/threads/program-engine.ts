// Compresses and decompresses with a program, which is started for each frame, through pipes.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 as crc32OfZlib } from 'node:zlib';
import { FrameDamage, type FrameDecoder, type FrameEncoder } from './frame-engine.ts';
import { gzipHeaderSize, requireGzipEnd } from './gzip-member.ts';
import { requireOneZstdFrame } from './zstd-frame.ts';

const decompress = ['-d', '-c', '-q', '--no-progress'];
const searchPath = process.env['PATH'] ?? '/usr/bin:/bin';

export function igzipEncoder(level: number): FrameEncoder {
  requireProgram('igzip');
  return {
    name: `the program igzip -${level}`,
    startsPrograms: true,
    compress(raw, stored) {
      const length = compressBy('igzip', [`-${level}`, '-c', '-n'], raw, stored);
      const frame = stored.subarray(0, length);
      // A program that died at the end of a full disk or of memory must not pass for one that has compressed.
      gzipHeaderSize(frame);
      const crc32 = crc32OfZlib(raw);
      requireGzipEnd(frame, raw.length, crc32);
      return { stored: length, crc32 };
    },
  };
}

export function zstdProgramEncoder(level: number, crc32: (data: Buffer) => number): FrameEncoder {
  requireProgram('zstd');
  return {
    name: `the program zstd -${level}`,
    startsPrograms: true,
    compress(raw, stored) {
      const length = compressBy('zstd', [`-${level}`, '-c', '-q', '--single-thread'], raw, stored);
      requireOneZstdFrame(stored.subarray(0, length));
      return { stored: length, crc32: crc32(raw) };
    },
  };
}

export function zstdProgramDecoder(crc32: (data: Buffer) => number): FrameDecoder {
  requireProgram('zstd');
  return {
    name: 'the program zstd',
    decompress(stored, raw) {
      requireOneZstdFrame(stored);
      const { why, exited, length } = run('zstd', decompress, stored, raw);
      if (why !== undefined && !exited) throw new Error(`zstd: ${why}`);
      if (why !== undefined) throw new FrameDamage(`its data cannot be decompressed: ${why}`);
      if (length > raw.length) throw new FrameDamage('it holds more than it should');
      if (length < raw.length) throw new FrameDamage('it holds less than it should');
      return crc32(raw);
    },
  };
}

function compressBy(program: string, args: readonly string[], raw: Buffer, stored: Buffer): number {
  const { why, length } = run(program, args, raw, stored);
  if (why !== undefined) throw new Error(`${program}: ${why}`);
  if (length > stored.length) throw new Error(`${program} made more than the frame can be`);
  return length;
}

interface ProgramRun {
  /** Why it failed. */
  readonly why: string | undefined;
  /** It ended by itself, so it is its input that it does not like. */
  readonly exited: boolean;
  /** What it wrote, of which `output` has as much as fits. */
  readonly length: number;
}

function run(program: string, args: readonly string[], input: Buffer, output: Buffer): ProgramRun {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    input,
    maxBuffer: output.length + 1,
    // Nothing else: GZIP, ZSTD_CLEVEL and the like would change the output.
    env: { LANG: 'C', LC_ALL: 'C', PATH: searchPath },
    // A process group of its own: a Ctrl-C reaches us alone.
    ...{ detached: true },
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOBUFS') {
    return { why: undefined, exited: true, length: output.length + 1 };
  }
  if (status === null) {
    const why = error?.message ?? `was killed by ${String(signal)}`;
    return { why, exited: false, length: 0 };
  }
  if (status !== 0) {
    const words = stderr.toString().trim().split('\n').slice(-3).join(' ');
    return { why: words || `exited with status ${status}`, exited: true, length: 0 };
  }
  stdout.copy(output);
  return { why: undefined, exited: true, length: stdout.length };
}

function requireProgram(program: string): void {
  const isThere = searchPath.split(':').some((folder) => isExecutable(join(folder, program)));
  if (!isThere) throw new Error('is not installed');
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
