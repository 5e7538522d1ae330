// Which bytes of one read have arrived. Chunks come in any order, and none may come twice.

/** More islands than a read of 1 MiB has sectors are no honest answer. */
const maxIslands = 2048;

export class Coverage {
  /** Sorted, not touching: start and end in turns. */
  readonly #edges: number[] = [];
  /** Bytes that have arrived. */
  bytes = 0;

  /** Notes that `[from, from + length)` has arrived. @returns false when some of it had before. */
  add(from: number, length: number): boolean {
    const edges = this.#edges;
    const to = from + length;
    let at = edges.length;
    // Usually chunks come in order, so the place is found at the end at once.
    while (at > 0 && (edges[at - 2] ?? 0) >= from) at -= 2;
    const endBefore = edges[at - 1];
    const startAfter = edges[at];
    if (endBefore !== undefined && endBefore > from) return false;
    if (startAfter !== undefined && startAfter < to) return false;
    const start = endBefore === from ? at - 1 : at;
    const end = startAfter === to ? at + 1 : at;
    edges.splice(
      start,
      end - start,
      ...(endBefore === from ? [] : [from]),
      ...(startAfter === to ? [] : [to]),
    );
    this.bytes += length;
    return edges.length <= 2 * maxIslands;
  }
}
