// Compressors: which one is used for a method and level, and how it is called for one frame.
// The choice is explained, with speeds, in docs/bundle-format.md, "Compressors".
import { createReadStream, createWriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { CompressingCodec, FrameCodec, RawFrame } from '../bundle/frame-codec.ts';
import type { Compression } from '../bundle/manifest.ts';
import { readAll } from '../bundle/scratch.ts';
import { FailedError, UsageError } from '../report/errors.ts';
import { runFilter } from '../run/filter.ts';
import { isInstalled as isOnPath } from '../run/which.ts';

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

/** Best first: igzip -1 is six times as fast as the others. */
const gzipTools: readonly Tool[] = [
  { program: 'igzip', levels: [0, 3], args: ['-c', '-n'] },
  { program: 'pigz', levels: [1, 9], args: ['-c', '-n', '-p', String(pigzThreads)] },
  { program: 'gzip', levels: [1, 9], args: ['-c', '-n'] },
];
const zstd: Tool = { program: 'zstd', levels: [1, 19], args: ['-c', '-q'] };
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
    async compress(frame, output, signal) {
      await output.truncate();
      const files = { input: frame.file.fd, output: output.fd };
      await runFilter(command, files, { doing: 'compress a frame of the bundle', signal });
      return checked(compression, program, frame, output);
    },
  };
}

/** Node's own zlib, in libuv's threads; as slow as gzip. */
function zlibCodec(level: number): CompressingCodec {
  const chunkSize = 256 * 1024;
  return {
    compression: 'gzip',
    name: `zlib -${level}`,
    async compress(frame, output, signal) {
      await output.truncate();
      await pipeline(
        createReadStream(`/proc/self/fd/${frame.file.fd}`, { highWaterMark: chunkSize }),
        createGzip({ level, chunkSize }),
        createWriteStream(`/proc/self/fd/${output.fd}`, { flags: 'r+' }),
        { signal },
      ).catch((error: unknown) => {
        signal.throwIfAborted();
        throw error;
      });
      return checked('gzip', 'zlib', frame, output);
    },
  };
}

/** The size of the output, after a look at whether it can be complete: a full disk, a dying tool. */
async function checked(
  compression: 'gzip' | 'zstd',
  program: string,
  { length, crc32 }: RawFrame,
  output: FileHandle,
): Promise<number> {
  const { size } = await output.stat();
  const ends = Buffer.alloc(12);
  const complete = size >= 12 && (await endsMatch());
  if (!complete) {
    throw new FailedError(
      `cannot compress a frame of the bundle: the output of ${program} is not complete`,
    );
  }
  return size;

  async function endsMatch(): Promise<boolean> {
    await readAll(output, ends, 4, 0);
    if (compression === 'zstd') return ends.readUInt32LE(0) === 0xfd2fb528;
    // RFC 1952: a member ends in the CRC-32 and the length of what was compressed.
    await readAll(output, ends.subarray(4), 8, size - 8);
    const starts = ends.readUInt16BE(0) === 0x1f8b && ends.readUInt8(2) === 8;
    return starts && ends.readUInt32LE(4) === crc32 && ends.readUInt32LE(8) === length;
  }
}
