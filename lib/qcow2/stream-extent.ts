// Like image-extent.ts, for a file that can only be read as a stream: the tables are picked out of two passes.
// Format: QEMU, docs/interop/qcow2.txt.
import type { DataPiece } from '../read/rbd-diff-stream.ts';
import type { Extent } from '../read/extent.ts';
import { overZeros } from '../read/fill-with-zeros.ts';
import { entrySize } from './format.ts';
import { neededL1Entries, type Qcow2Header } from './header.ts';
import { endOfData, hostOffsets } from './table-entries.ts';

/**
 * Returns how many bytes the file must have at least.
 * @param size bytes that the file has
 * @param pieces begins a new pass over the file; what it leaves out is zeros
 */
export async function neededEndOfStream(
  header: Qcow2Header,
  size: number,
  pieces: () => AsyncIterable<DataPiece>,
): Promise<number> {
  const l1 = { offset: header.l1Offset, length: neededL1Entries(header) * entrySize };
  const l1End = l1.offset + l1.length;
  if (l1End > size || l1.length === 0) return l1End;
  const parts: Uint8Array[] = [];
  for await (const part of overZeros([l1], pieces())) parts.push(Buffer.from(part));
  const l1Table = Buffer.concat(parts);
  const tables = hostOffsets(l1Table);
  const lastTable = tables.reduce(
    (end, offset) => Math.max(end, offset + header.clusterSize),
    l1End,
  );
  if (lastTable > size || tables.length === 0) return lastTable;
  let end = lastTable;
  for await (const table of tablesIn(tables, header.clusterSize, pieces())) {
    end = Math.max(end, endOfData(table, header));
  }
  return end;
}

/** @param tables where they begin, ascending. Yields one after another, `length` bytes each. */
async function* tablesIn(
  tables: readonly number[],
  length: number,
  pieces: AsyncIterable<DataPiece>,
): AsyncGenerator<Buffer, void> {
  const table = Buffer.alloc(length);
  let filled = 0;
  for await (const bytes of overZeros(extentsOf(tables, length), pieces)) {
    for (let rest = bytes; rest.length > 0;) {
      const part = rest.subarray(0, length - filled);
      table.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
      if (filled < length) continue;
      yield table;
      filled = 0;
    }
  }
}

function* extentsOf(offsets: readonly number[], length: number): Generator<Extent> {
  for (const offset of offsets) yield { offset, length };
}
