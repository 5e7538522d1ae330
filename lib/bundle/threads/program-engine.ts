// Compresses and decompresses with a program, which is started for each frame, through pipes.
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 as crc32OfZlib } from 'node:zlib';
import {
  FrameDamage,
  ProgramFailure,
  type FrameDecoder,
  type FrameEncoder,
} from './frame-engine.ts';
import { gzipHeaderSize, requireGzipEnd } from './gzip-member.ts';
import { requireOneZstdFrame } from './zstd-frame.ts';

let isStopping = false;
/** Ends what runs. */
let kill: () => void = () => undefined;
let running: Promise<unknown> = Promise.resolve();

/** Kills the program that runs, waits for its end, and refuses to start others. Never rejects. */
export async function stopPrograms(): Promise<void> {
  isStopping = true;
  kill();
  await running;
}

const decompress = ['-d', '-c', '-q', '--no-progress'];
/** The worker thread has no other. */
const searchPath = process.env['PATH'] ?? '/usr/bin:/bin';

/** Level 0 is no faster than 1, and makes 23 % more of bytes that cannot be compressed. */
export function igzipEncoder(asked: number): FrameEncoder {
  const level = Math.max(1, asked);
  requireProgram('igzip');
  return {
    name: `the program igzip -${level}`,
    startsPrograms: true,
    async compress(raw, stored) {
      const length = await compressBy('igzip', [`-${level}`, '-c', '-n'], raw, stored);
      const frame = stored.subarray(0, length);
      // A program that died at the end of a full disk or of memory must not pass for one that has compressed.
      const crc32 = crc32OfZlib(raw);
      try {
        gzipHeaderSize(frame);
        requireGzipEnd(frame, raw.length, crc32);
      } catch (error) {
        const why = (error as Error).message;
        throw new Error(`the output of igzip is not complete: ${why}`, { cause: error });
      }
      return { stored: length, crc32 };
    },
  };
}

export function zstdProgramEncoder(level: number, crc32: (data: Buffer) => number): FrameEncoder {
  requireProgram('zstd');
  return {
    name: `the program zstd -${level}`,
    startsPrograms: true,
    async compress(raw, stored) {
      const length = await compressBy(
        'zstd',
        [`-${level}`, '-c', '-q', '--single-thread'],
        raw,
        stored,
      );
      requireOneZstdFrame(stored.subarray(0, length));
      return { stored: length, crc32: crc32(raw) };
    },
  };
}

export function zstdProgramDecoder(crc32: (data: Buffer) => number): FrameDecoder {
  requireProgram('zstd');
  return {
    name: 'the program zstd',
    startsPrograms: true,
    async decompress(stored, raw) {
      requireOneZstdFrame(stored);
      const { why, exited, length } = await run('zstd', decompress, stored, raw);
      if (why !== undefined && !exited) throw new ProgramFailure('zstd', why);
      if (why !== undefined) throw new FrameDamage(`its data cannot be decompressed: ${why}`);
      if (length > raw.length) throw new FrameDamage('it holds more than it should');
      if (length < raw.length) throw new FrameDamage('it holds less than it should');
      return crc32(raw);
    },
  };
}

async function compressBy(
  program: string,
  args: readonly string[],
  raw: Buffer,
  stored: Buffer,
): Promise<number> {
  const { why, length } = await run(program, args, raw, stored);
  if (why !== undefined) throw new ProgramFailure(program, why);
  if (length > stored.length) throw new Error(`${program} made more than the frame can be`);
  return length;
}

interface ProgramRun {
  /** Why it failed. */
  readonly why: string | undefined;
  /** It ended by itself, so it was its input that it did not like. */
  readonly exited: boolean;
  /** Bytes it wrote, of which `output` has as many as fit. */
  readonly length: number;
}

async function run(
  program: string,
  args: readonly string[],
  input: Buffer,
  output: Buffer,
): Promise<ProgramRun> {
  if (isStopping) throw new Error('no program is started any more');
  const ended = new Promise<ProgramRun>((resolve) => {
    const child = spawn(program, args, {
      stdio: 'pipe',
      // Nothing else: GZIP, ZSTD_CLEVEL and the like would change the output.
      env: { LANG: 'C', LC_ALL: 'C', PATH: searchPath },
      // A process group of its own: a Ctrl-C reaches us alone.
      detached: true,
    });
    let length = 0;
    let words = '';
    const end = (why: string | undefined, exited: boolean) => {
      resolve({ why, exited, length });
    };
    kill = () => {
      // The whole process group.
      const isRunning = child.exitCode === null && child.signalCode === null;
      if (child.pid !== undefined && isRunning) process.kill(-child.pid, 'SIGKILL');
    };
    child.stdout.on('data', (data: Buffer) => {
      if (length < output.length) data.copy(output, length);
      length += data.length;
    });
    child.stderr.on('data', (data: Buffer) => {
      words = (words + data.toString()).slice(-2000);
    });
    // A program that ends early does not read all: its status says why.
    child.stdin.on('error', () => undefined);
    child.on('error', (error) => end(error.message, false));
    child.on('close', (status, signal) => {
      if (status === null) end(`was killed by ${String(signal)}`, false);
      else if (status === 0) end(undefined, true);
      else
        end(words.trim().split('\n').slice(-3).join(' ') || `exited with status ${status}`, true);
    });
    child.stdin.end(input);
  });
  running = ended;
  return ended;
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
