// An RBD image at a snapshot as a DiskReader: its extents by `rbd diff`, its data by `rbd export-diff`,
// which reads the cluster's objects in parallel and prints them in order.
import { FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';
import { diffCommand, exportDiffCommand, type CephAccess } from '../tools/rbd.ts';
import type { DiskReader } from './disk-reader.ts';
import type { Extent } from './extent.ts';
import type { Extents } from './extents.ts';
import { overZeros } from './fill-with-zeros.ts';
import { programOutput } from './program-output.ts';
import { diffPieces, type DataPiece } from './rbd-diff-stream.ts';
import { parseRbdExtents } from './rbd-extents.ts';

export interface RbdSource {
  readonly access: CephAccess;
  /** `<pool>/<image>`. */
  readonly image: string;
  /** Undefined: the image itself, to which nobody may write meanwhile. */
  readonly snapshot?: string;
  /** Bytes. */
  readonly virtualSize: number;
}

export interface RbdReaderOptions {
  readonly runner: Runner;
  readonly signal: AbortSignal;
  /** Names the disk in messages: "disk 0 of VM 7". */
  readonly label: string;
  /** rbd may be silent for this long, in milliseconds. Default one hour. */
  readonly stallMs?: number;
}

/**
 * `rbd diff` prints everything at its end, and `rbd export-diff` prints nothing while it finds no data: without an
 * object map both look at each object, which takes minutes for a large image.
 */
const defaultStallMs = 3_600_000;

export function openRbdReader(source: RbdSource, options: RbdReaderOptions): DiskReader {
  const { access, image, snapshot, virtualSize } = source;
  const { runner, signal, label, stallMs = defaultStallMs } = options;
  const spec = snapshot === undefined ? image : `${image}@${snapshot}`;
  const closing = new AbortController();
  const ends = new Set<Promise<void>>();

  const output = (command: ReturnType<typeof diffCommand>): AsyncIterable<Buffer> => {
    const { chunks, ended } = programOutput(command, {
      runner,
      signal: AbortSignal.any([signal, closing.signal]),
      doing: `read ${label}`,
      stallMs,
    });
    ends.add(ended);
    return chunks;
  };

  let found: Promise<Extents> | undefined;
  const extents = (): Promise<Extents> =>
    (found ??= parseRbdExtents(output(diffCommand(access, spec)), virtualSize, label));

  return {
    virtualSize,
    extents,
    async *read(wanted) {
      const announced = await extents();
      const pieces = diffPieces(output(exportDiffCommand(access, spec)), {
        virtualSize,
        snapshot,
        label,
      });
      yield* overZeros(wanted, announcedOnly(pieces, announced, label));
    },
    async close() {
      closing.abort(new FailedError(`${label} is no longer read`));
      await Promise.all(ends);
    },
  };
}

/** The bundle has nothing outside of the extents, so data there must not go unnoticed. */
async function* announcedOnly(
  pieces: AsyncIterable<DataPiece>,
  announced: Extents,
  label: string,
): AsyncGenerator<DataPiece, void, void> {
  const extents = announced[Symbol.iterator]();
  const end = ({ offset, length }: Extent): number => offset + length;
  let extent = extents.next().value;
  for await (const piece of pieces) {
    while (extent && end(extent) <= piece.offset) extent = extents.next().value;
    if (!extent || piece.offset < extent.offset || piece.offset + piece.data.length > end(extent)) {
      throw new FailedError(
        `cannot read ${label}: rbd export-diff gave data at ${piece.offset} where rbd diff had announced none`,
      );
    }
    yield piece;
  }
}
