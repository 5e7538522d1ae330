// A reader whose errors are explained by somebody who knows more than the connection that was lost.
import type { DiskReader } from './disk-reader.ts';

/** @param explain gives the error to be thrown instead; it never throws itself. */
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
