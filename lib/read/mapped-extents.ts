// The extents of a raw file, as `qemu-img map --output=json` prints them: the whole file, one object for each run of
// bytes that are alike. Their order and sum are checked, because what is not an extent is not read.
import { FailedError } from '../report/errors.ts';
import { object } from '../run/json-object.ts';
import { count, parseShape, truth } from '../run/json-shape.ts';
import { ExtentList } from './extent-list.ts';
import { eachOfJsonList } from './json-list.ts';

/** QEMU rounds sizes up to it. */
const sectorSize = 512;

const runShape = object({
  start: count(),
  length: count(),
  /** Whether the bytes read as zeros. */
  zero: truth,
});

/**
 * Returns everything that is not declared to read as zeros.
 * @param virtualSize bytes of the file
 * @param label names the disk in messages
 * @throws FailedError when this is not such a list, or not one of a file of that size
 */
export async function parseMappedExtents(
  chunks: AsyncIterable<Uint8Array>,
  virtualSize: number,
  label: string,
): Promise<ExtentList> {
  const list = new ExtentList();
  let end = 0;
  const wrong = (why: string): FailedError =>
    new FailedError(`cannot find the data of ${label}: qemu-img map printed ${why}`);

  const add = (json: string): void => {
    const { start, length, zero } = parseShape(runShape, json, (why) =>
      wrong(`an extent that is not one, since ${why}: ${json.slice(0, 100)}`),
    );
    // An empty file is printed as one empty run.
    if (start !== end || (length === 0 && virtualSize > 0)) {
      throw wrong('its extents out of order');
    }
    const isInside = start < virtualSize;
    if (isInside && !zero) list.add(start, Math.min(length, virtualSize - start));
    end = start + length;
  };

  await eachOfJsonList(chunks, add, wrong);
  if (end < virtualSize || end - virtualSize >= sectorSize) {
    throw new FailedError(
      `cannot read ${label}: it has ${virtualSize} bytes, but qemu-img map sees ${end}; has it been resized meanwhile?`,
    );
  }
  return list;
}
