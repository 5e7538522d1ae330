// What oned tells of an image, cut down to what a manifest may hold. The owner of an image writes its
// attributes; one that no reader accepts would make a bundle that nobody can restore.
import { errorMessage } from '../report/errors.ts';
import { longestText } from './json-shape.ts';
import { imageFactsShape } from './manifest-parse.ts';
import type { ImageFacts } from './manifest.ts';

/** Bytes of JSON for all facts of one image: OpenNebula's own attributes take less than 4 KiB. */
const largestFacts = 256 * 1024;

/** Facts without which the others say nothing of an image. */
const needed: ReadonlySet<string> = new Set(['id', 'name', 'type', 'persistent', 'datastoreId']);

/**
 * The facts that a manifest may hold; undefined when what must be known of the image is not among them.
 * @param warn told of everything that is left out, in words that follow "disk 0: "
 */
export function fittingFacts(
  facts: ImageFacts,
  warn: (text: string) => void,
): ImageFacts | undefined {
  const leave = (what: string, why: string): void =>
    warn(`the ${what} of its image ${facts.id} ${why} and is not in the bundle`);
  const { attributes = {}, ...single } = facts;
  const singleKept = Object.entries(single).filter(([key, value]) => {
    const fits = typeof value !== 'string' || needed.has(key) || value.length <= longestText;
    if (!fits) leave(key, 'is too long');
    return fits;
  });
  let room = largestFacts - jsonSize(Object.fromEntries(singleKept));
  const fitting = new Set<string>();
  // The short ones first, so that a long one does not push them out.
  const byLength = Object.entries(attributes).sort((one, other) => jsonSize(one) - jsonSize(other));
  for (const [name, value] of byLength) {
    const size = jsonSize([name, value]);
    if (value.length <= longestText && size <= room) {
      fitting.add(name);
      room -= size;
    } else {
      leave(`attribute ${name.slice(0, 80)}`, 'is too long');
    }
  }
  const attributesKept = Object.entries(attributes).filter(([name]) => fitting.has(name));
  const kept = {
    ...Object.fromEntries(singleKept),
    ...(attributesKept.length > 0 ? { attributes: Object.fromEntries(attributesKept) } : {}),
  };
  try {
    imageFactsShape(kept, 'image');
    return kept as unknown as ImageFacts;
  } catch (error) {
    warn(`nothing of its image ${facts.id} is in the bundle: ${errorMessage(error)}`);
    return undefined;
  }
}

function jsonSize(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
