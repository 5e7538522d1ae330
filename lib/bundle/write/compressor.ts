// Picks the compressor for the frames of a bundle, by method and level.
// docs/decisions/0005-writing-frames.md explains the choice, with speeds.
import { UsageError } from '../../report/errors.ts';
import { isInstalled as isOnPath } from '../../run/which.ts';
import type { Encoder } from '../compression/compression-format.ts';
import {
  compressions,
  hasLevel,
  requireLevel,
  type CompressionChoice,
} from '../compression/compressions.ts';
import type { CompressingCodec, FrameCodec } from './frame-codec.ts';
import { BuiltInCompressor, ProgramCompressor } from './frame-compressors.ts';

/**
 * The codec for a bundle.
 * @param isInstalled looks a program up on PATH
 * @throws UsageError when the level does not exist, or no installed program has it
 */
export async function pickCompressor(
  choice: CompressionChoice,
  isInstalled: (program: string) => Promise<boolean> = isOnPath,
): Promise<FrameCodec> {
  requireLevel(choice);
  const { method, level } = choice;
  const { encoding } = compressions[method];
  if (method === 'none' || !encoding) return { compression: 'none', name: 'no compression' };
  const missing: string[] = [];
  for (const encoder of encoding.encoders) {
    if (level !== undefined && !hasLevel(encoder.levels, level)) continue;
    if ('builtIn' in encoder || (await isInstalled(encoder.program))) {
      return codecOf(method, encoder, level ?? encoding.levels.default);
    }
    missing.push(encoder.program);
  }
  const asked = level === undefined ? method : `${method}:${level}`;
  throw new UsageError(
    `compression ${asked} needs the program ${missing.join(' or ')}, which is not installed`,
  );
}

function codecOf(
  compression: CompressingCodec['compression'],
  encoder: Encoder,
  level: number,
): CompressingCodec {
  if ('builtIn' in encoder) {
    return {
      compression,
      name: `${encoder.builtIn} -${level}`,
      start: (raw, stored, signal) =>
        new BuiltInCompressor({ compression, encoder, level }, { raw, stored }, signal),
    };
  }
  return {
    compression,
    name: `${encoder.program} -${level}`,
    start: (raw, stored, signal) =>
      new ProgramCompressor({ compression, encoder, level }, { raw, stored }, signal),
  };
}
