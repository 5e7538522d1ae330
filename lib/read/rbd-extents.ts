// The extents of an RBD image: `rbd diff --format json` prints one array of small objects. There can be
// millions of them, so they are parsed as they arrive.
import { FailedError } from '../report/errors.ts';
import { object } from '../run/json-object.ts';
import { count, made, parseShape } from '../run/json-shape.ts';
import { ExtentList } from './extent-list.ts';
import type { Extents } from './extents.ts';
import { eachOfJsonList } from './json-list.ts';

/** In Ceph 16 `exists` is a string; other versions print a JSON boolean. */
const truths = new Map<unknown, boolean>([
  ['true', true],
  [true, true],
  ['false', false],
  [false, false],
]);
const extentShape = object({
  offset: count(),
  length: count(),
  exists: made('true or false', (value) => truths.get(value)),
});

/**
 * Returns the extents that were written, in order. Extents that touch are joined. If there are too many to keep, those
 * with the smallest holes between them are also joined.
 * @param label names the disk in messages.
 * @throws FailedError when this is not such a list, or not a possible one for a disk of that size.
 */
export async function parseRbdExtents(
  chunks: AsyncIterable<Uint8Array>,
  virtualSize: number,
  label: string,
): Promise<Extents> {
  const list = new ExtentList();
  let end = 0;
  const wrong = (why: string): FailedError =>
    new FailedError(`cannot find the data of ${label}: rbd diff printed ${why}`);

  const add = (json: string): void => {
    const { offset, length, exists } = parseShape(extentShape, json, (why) =>
      wrong(`an extent that is not one, since ${why}: ${json.slice(0, 100)}`),
    );
    if (length === 0) throw wrong('an extent without a length');
    if (offset < end) throw wrong('its extents out of order');
    if (length > virtualSize - offset) {
      throw wrong(`an extent that ends behind the ${virtualSize} bytes of the image`);
    }
    // What was discarded reads as zeros.
    if (exists) list.add(offset, length);
    end = offset + length;
  };

  await eachOfJsonList(chunks, add, wrong);
  return list.extents;
}
