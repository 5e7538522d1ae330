// Compressors: which one is used for a method and level, and how it is called for one frame.
// The choice, with speeds: docs/decisions/0005-writing-frames.md.
import { createReadStream, createWriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { CompressingCodec, FrameCodec } from './frame-codec.ts';
import type { Compression } from '../format/manifest.ts';
import { readAll } from './scratch.ts';
import { errorMessage, FailedError, UsageError } from '../../report/errors.ts';
import { startFilter } from '../../run/filter.ts';
import { isInstalled as isOnPath } from '../../run/which.ts';

export interface CompressionChoice {
  readonly method: Compression;
  /** Undefined: the fastest level that still compresses. */
  readonly level?: number | undefined;
}

interface Tool {
  readonly program: string;
  readonly levels: readonly [lowest: number, highest: number];
  /** All read stdin and write stdout, without a name or time in the header. */
  readonly args: readonly string[];
}

// Two frames are usually compressed at once; pigz uses the other cores.
const pigzThreads = Math.max(1, Math.floor(availableParallelism() / 2));

/** Best first. Not gzip: Node's own zlib needs half to three quarters of its time. */
const gzipTools: readonly Tool[] = [
  { program: 'igzip', levels: [0, 3], args: ['-c', '-n'] },
  { program: 'pigz', levels: [1, 9], args: ['-c', '-n', '-p', String(pigzThreads)] },
];
const zstd: Tool = { program: 'zstd', levels: [1, 19], args: ['-c', '-q', '--single-thread'] };
const defaultLevel = 1;

/**
 * The codec for a bundle.
 * @param isInstalled looks a program up on PATH
 * @throws UsageError when the level does not exist, or no installed program has it
 */
export async function pickCompressor(
  { method, level }: CompressionChoice,
  isInstalled: (program: string) => Promise<boolean> = isOnPath,
): Promise<FrameCodec> {
  switch (method) {
    case 'none':
      if (level !== undefined) throw new UsageError('compression none has no level');
      return { compression: 'none', name: 'no compression' };
    case 'zstd':
      checkLevel(method, level, zstd.levels);
      if (await isInstalled(zstd.program)) return toolCodec('zstd', zstd, level);
      throw new UsageError('compression zstd needs the program zstd, which is not installed');
    case 'gzip':
      checkLevel(method, level, [0, 9]);
      return pickGzip(level, isInstalled);
  }
}

async function pickGzip(
  level: number | undefined,
  isInstalled: (program: string) => Promise<boolean>,
): Promise<CompressingCodec> {
  for (const tool of gzipTools) {
    const [lowest, highest] = tool.levels;
    const fits = level === undefined || (level >= lowest && level <= highest);
    if (fits && (await isInstalled(tool.program))) return toolCodec('gzip', tool, level);
  }
  if (level === 0) throw new UsageError('gzip level 0 needs the program igzip, not installed');
  return zlibCodec(level ?? defaultLevel);
}

function checkLevel(
  method: Compression,
  level: number | undefined,
  [lowest, highest]: Tool['levels'],
) {
  if (level === undefined) return;
  if (Number.isInteger(level) && level >= lowest && level <= highest) return;
  throw new UsageError(`${method} has the levels ${lowest} to ${highest}, not ${level}`);
}

function toolCodec(
  compression: 'gzip' | 'zstd',
  { program, args }: Tool,
  level = defaultLevel,
): CompressingCodec {
  const command = { program, args: [`-${level}`, ...args] };
  return {
    compression,
    name: `${program} -${level}`,
    start(raw, stored, signal) {
      const files = { input: raw.fd, output: stored.fd };
      const filter = startFilter(command, files, { doing: 'compress a frame', signal });
      return {
        async compress(length, crc32) {
          const size = await filter.run();
          await requireComplete(compression, program, { length, crc32 }, stored, size);
          return size;
        },
        close: () => filter.close(),
      };
    },
  };
}

/** Node's own zlib, in libuv's threads. */
function zlibCodec(level: number): CompressingCodec {
  const chunkSize = 256 * 1024;
  return {
    compression: 'gzip',
    name: `zlib -${level}`,
    start: (raw, stored, signal) => ({
      async compress(length, crc32) {
        const sink = createWriteStream(`/proc/self/fd/${stored.fd}`, { flags: 'r+' });
        try {
          await pipeline(
            createReadStream(`/proc/self/fd/${raw.fd}`, { highWaterMark: chunkSize }),
            createGzip({ level, chunkSize }),
            sink,
            { signal },
          );
        } catch (error) {
          signal.throwIfAborted();
          throw new FailedError(`cannot compress a frame: ${errorMessage(error)}`, {
            cause: error,
          });
        }
        await requireComplete('gzip', 'zlib', { length, crc32 }, stored, sink.bytesWritten);
        return sink.bytesWritten;
      },
      close: () => Promise.resolve(),
    }),
  };
}

/** @throws FailedError unless the output can be complete: a look for full disks and dying tools. */
async function requireComplete(
  compression: 'gzip' | 'zstd',
  program: string,
  { length, crc32 }: { length: number; crc32: number },
  output: FileHandle,
  size: number,
): Promise<void> {
  const start = Buffer.alloc(4);
  const end = Buffer.alloc(8);
  if (size >= start.length + end.length) {
    await readAll(output, start, start.length, 0);
    await readAll(output, end, end.length, size - end.length);
  }
  const complete =
    compression === 'zstd'
      ? start.readUInt32LE() === 0xfd2fb528
      : // RFC 1952: a member ends in the CRC-32 and the length of what was compressed.
        start.readUIntBE(0, 3) === 0x1f8b08 &&
        end.readUInt32LE(0) === crc32 &&
        end.readUInt32LE(4) === length;
  if (complete) return;
  throw new FailedError(`cannot compress a frame: the output of ${program} is not complete`);
}
