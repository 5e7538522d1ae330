// Cuts down what oned says about the images of a VM to what a manifest may hold. The owners of the images write their
// attributes. If these made the manifest larger than a reader accepts, the bundle could not be restored.
import { errorMessage, FailedError } from '../../report/errors.ts';
import { longestText, readShape } from '../../run/json-shape.ts';
import { imageFactsShape, type ImageFacts } from '../format/manifest.ts';

/** Bytes of JSON for the facts of all images: a quarter of what a reader accepts. */
const largestFacts = 1024 * 1024;
/** Bytes of JSON for the facts of one image: OpenNebula's own attributes take less than 4 KiB. */
const largestOfImage = 128 * 1024;
/** How many facts the warning names: more do not help the person who reads it. */
const mostNamed = 3;

/** The facts without which the others are of no use. */
const needed: ReadonlySet<string> = new Set(['id', 'name', 'type', 'persistent', 'datastoreId']);

/** What the facts of one image may still take. */
interface Room {
  bytes: number;
}

/**
 * Returns the facts that a manifest may hold. An image is left out if a fact that is needed does not fit. All images
 * have the same room, so that the facts of one do not push out those of another.
 * @param images by DISK_ID
 * @param warn called once for everything that is left out
 */
export function fittingFacts(
  images: ReadonlyMap<number, ImageFacts>,
  warn: (text: string) => void,
): ReadonlyMap<number, ImageFacts> {
  const fitting = new Map<number, ImageFacts>();
  const left: string[] = [];
  for (const [diskId, facts] of images) {
    const room = { bytes: Math.min(largestOfImage, Math.floor(largestFacts / images.size)) };
    const kept = factsOfImage(facts, room, (what) => left.push(`disk ${diskId}: ${what}`));
    if (kept) fitting.set(diskId, kept);
  }
  if (left.length > 0) {
    const more = left.length > mostNamed ? `; and ${left.length - mostNamed} more` : '';
    const named = left.slice(0, mostNamed).join('; ');
    warn(`not in the bundle, since no reader would accept it: ${named}${more}`);
  }
  return fitting;
}

function factsOfImage(
  facts: ImageFacts,
  room: Room,
  leave: (what: string) => void,
): ImageFacts | undefined {
  const { attributes = {}, ...single } = facts;
  const names = Object.entries(single);
  const must = names.filter(([name]) => needed.has(name));
  room.bytes -= jsonSize(must);
  const may = fittingEntries(
    names.filter(([name]) => !needed.has(name)),
    room,
    (name) => leave(`the ${name} of its image ${facts.id}`),
  );
  const attributesKept = fittingEntries(Object.entries(attributes), room, (name) =>
    leave(`the attribute ${name.slice(0, 80)} of its image ${facts.id}`),
  );
  const kept = {
    ...Object.fromEntries(names.filter((entry) => must.includes(entry) || may.includes(entry))),
    ...(attributesKept.length > 0 ? { attributes: Object.fromEntries(attributesKept) } : {}),
  };
  try {
    if (room.bytes < 0) throw new FailedError('its name is too long');
    return readShape(imageFactsShape, kept, (why) => new FailedError(why));
  } catch (error) {
    leave(`all of its image ${facts.id} (${errorMessage(error)})`);
    return undefined;
  }
}

/** The entries for which there is room, in their order. Short ones get room first: no long one pushes them out. */
function fittingEntries<T>(
  entries: readonly (readonly [name: string, value: T])[],
  room: Room,
  leave: (name: string) => void,
): readonly (readonly [name: string, value: T])[] {
  const fitting = new Set<unknown>();
  for (const entry of entries.toSorted((one, other) => jsonSize(one) - jsonSize(other))) {
    const [name, value] = entry;
    const size = jsonSize(entry);
    const isLong = typeof value === 'string' && value.length > longestText;
    if (isLong || size > room.bytes) {
      leave(name);
      continue;
    }
    fitting.add(entry);
    room.bytes -= size;
  }
  return entries.filter((entry) => fitting.has(entry));
}

function jsonSize(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
