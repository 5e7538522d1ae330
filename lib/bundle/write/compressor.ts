// Picks what compresses the frames of a bundle, by method and level. docs/decisions/0012-frame-engines.md says what there is.
import {
  compressions,
  requireLevel,
  type Compression,
  type CompressionChoice,
} from '../compression/compressions.ts';
import { slotSizesFor } from '../threads/frame-slot.ts';
import { FrameThreads, type FrameThreadsOptions } from '../threads/frame-threads.ts';
import { frameSize } from './frame-size.ts';

/** What a bundle is compressed with. */
export interface FrameCodec {
  readonly compression: Compression;
  readonly level: number;
  /** For people: `libisal -1`. */
  readonly name: string;
  /** It starts a program for each frame. */
  readonly startsPrograms: boolean;
  /** Each choice in a line, for --debug. */
  readonly choices: readonly string[];
  readonly libraries?: FrameThreadsOptions['libraries'];
}

/**
 * The codec for a bundle. Starts a thread to find out what there is, and ends it.
 * @param libraries for tests
 * @throws UsageError when the level does not exist, or this machine has nothing that compresses so
 */
export async function pickCompressor(
  choice: CompressionChoice,
  libraries?: FrameThreadsOptions['libraries'],
): Promise<FrameCodec> {
  requireLevel(choice);
  const { method } = choice;
  const level = choice.level ?? compressions[method].levels?.default ?? 0;
  const encode = { method, level };
  const slots = () => slotSizesFor(frameSize);
  const threads = await FrameThreads.start({ encode, slots, threads: 1, libraries });
  await threads.close();
  const { name = method, startsPrograms = false } = threads.encoder ?? {};
  const { choices } = threads;
  return { compression: method, level, name, startsPrograms, choices, libraries };
}
