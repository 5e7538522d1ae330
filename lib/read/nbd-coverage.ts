// Notes which bytes of one read have arrived. Chunks come in any order, and no byte may come twice.

/** An honest answer to a read of 1 MiB has no more separate ranges than sectors. */
const maxIslands = 2048;

export class Coverage {
  /** Pairs of start and end, sorted and not touching. */
  readonly #edges: number[] = [];
  /** Bytes that have arrived. */
  bytes = 0;

  /** Notes that `[from, from + length)` has arrived. @returns false when a part of it had already arrived */
  add(from: number, length: number): boolean {
    const edges = this.#edges;
    const to = from + length;
    let at = edges.length;
    // Chunks usually come in order, so the search begins at the end.
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
