// Reads a JSON list of small objects as it arrives. There can be millions of them, as in the list of a disk's extents.

/** Characters of one object at most. */
const longestObject = 1000;

/**
 * Calls `each` with the text of every object. An object has no other objects in it, and no braces in its texts.
 * @param wrong makes the error of text that is not such a list: `no list of extents`
 * @throws what `wrong` made, and what `each` throws
 */
export async function eachOfJsonList(
  chunks: AsyncIterable<Uint8Array>,
  each: (json: string) => void,
  wrong: (why: string) => Error,
): Promise<void> {
  let opened = false;
  let rest = '';
  for await (const chunk of chunks) {
    rest += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1');
    let from = 0;
    for (let at = rest.indexOf('}'); at >= 0; at = rest.indexOf('}', from)) {
      const text = rest.slice(from, at + 1);
      const [, before, json] = /^\s*([[,])\s*(\{[^{}]*\})$/.exec(text) ?? [];
      if (json === undefined || before !== (opened ? ',' : '[')) throw wrong('no list of extents');
      opened = true;
      each(json);
      from = at + 1;
    }
    rest = rest.slice(from);
    if (rest.length > longestObject) throw wrong('no list of extents');
  }
  if (!(opened ? /^\s*\]\s*$/ : /^\s*\[\s*\]\s*$/).test(rest)) throw wrong('no whole list');
}
