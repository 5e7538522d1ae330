// A reader whose errors are replaced by better explanations, from code that knows why the connection was lost.
import type { DiskReader } from './disk-reader.ts';

/** @param explain returns the error to throw instead; it never throws. */
export function explainedReader(
  reader: DiskReader,
  explain: (error: unknown) => Promise<unknown>,
): DiskReader {
  return {
    virtualSize: reader.virtualSize,
    async extents() {
      try {
        return await reader.extents();
      } catch (error) {
        throw await explain(error);
      }
    },
    async *read(extents) {
      try {
        yield* reader.read(extents);
      } catch (error) {
        throw await explain(error);
      }
    },
    recycle: (piece) => reader.recycle?.(piece),
    close: () => reader.close(),
  };
}
