// Decompresses with a program, through pipes: one process for all frames.
import { CommandError, errorMessage } from '../../report/errors.ts';
import { pipeThrough } from '../../run/pipe-through.ts';
import type { Command } from '../../run/runner.ts';
import { LostEndError } from '../lost-end-error.ts';
import type { Decompression, StoredBytes } from './compression-format.ts';

export interface DecompressionProgram extends Command {
  /** Leaves out zeros after the last frame, which the program would treat as damage. */
  readonly withoutZeros: (chunks: AsyncIterable<Buffer>) => AsyncGenerator<Buffer>;
}

/** The program reads stdin and writes stdout. It is started when the first byte is asked for. */
export function decompressBy(
  program: DecompressionProgram,
): (stored: StoredBytes) => Decompression {
  return (stored) => {
    const chunks = output(program, stored);
    return { chunks, stop: () => void chunks.return(undefined) };
  };
}

async function* output(
  { withoutZeros, ...command }: DecompressionProgram,
  { offset, length, chunks, endsInZeros, signal }: StoredBytes,
): AsyncGenerator<Buffer> {
  const options = { doing: 'decompress the bundle', signal };
  try {
    yield* pipeThrough(command, endsInZeros ? withoutZeros(chunks) : chunks, options);
  } catch (error) {
    // Without a status the program was not even started: that says nothing about the bundle.
    if (!(error instanceof CommandError) || error.status === undefined) throw error;
    const place = `bytes ${offset} to ${offset + length}`;
    const words = error.stderr.trim() || errorMessage(error);
    throw new LostEndError(`the compressed data is damaged within ${place}: ${words}`, {
      cause: error,
    });
  }
}
