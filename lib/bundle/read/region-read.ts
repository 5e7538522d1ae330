// Reads one region of a disk, as the guest sees it, from an indexed bundle: a few records of its table, and the frames that
// hold its bytes. Nothing is given out before its hash was checked.
import { BundleError } from '../../report/errors.ts';
import type { Compression } from '../compression/compressions.ts';
import { RegionHasher } from '../format/region-hash.ts';
import type { Frame } from '../format/manifest.ts';
import type { BundleSource } from './bundle.ts';
import { frameBytes } from './frame-stream.ts';
import type { RegionTable } from './disk-regions.ts';

/** Bytes: a disk of 256 TiB has such regions. A larger one would not fit into memory. */
const largestRegion = 256 * 1024 * 1024;

/**
 * The content of a region, holes as zeros.
 * @param label for messages: `disk 0`
 * @throws BundleError when it is damaged, or not stored in this bundle
 */
export async function readRegion(
  source: BundleSource,
  compression: Compression,
  table: RegionTable,
  index: number,
  { label, signal }: { readonly label: string; readonly signal?: AbortSignal | undefined },
): Promise<Buffer> {
  const { regionSize, header } = table;
  const region = await table.region(index);
  if (regionSize > largestRegion) {
    throw new BundleError(`${label}: its regions are too large to be read alone`);
  }
  const content = Buffer.alloc(Math.min(regionSize, header.virtualSize - index * regionSize));
  if (region.kind === 'parent') {
    throw new BundleError(`${label}: region ${index} is in the bundle that this one is based on`);
  }
  const hasher = new RegionHasher(content.length);
  if (region.kind === 'stored') {
    const runs = await table.runs(index, region);
    const length = runs.reduce((sum, run) => sum + run.length, 0);
    const first = Math.floor(region.position / header.frameSize);
    const last = Math.floor((region.position + length - 1) / header.frameSize);
    const frames: Frame[] = [];
    for (let at = first; at <= last; at++) frames.push(await table.frame(at));
    const stream = frameBytes(source, compression, frames, { label, first, signal });
    let position = first * header.frameSize;
    let run = 0;
    let done = 0;
    for await (const chunk of stream) {
      for (let at = Math.max(0, region.position - position); at < chunk.length;) {
        const current = runs[run];
        if (!current) break;
        const part = chunk.subarray(at, at + current.length - done);
        content.set(part, current.start + done);
        hasher.update(part, current.start + done);
        at += part.length;
        done += part.length;
        if (done < current.length) break;
        run += 1;
        done = 0;
      }
      position += chunk.length;
    }
    if (run < runs.length) throw new BundleError(`${label}: region ${index} ends early`);
  }
  if (hasher.digest().equals(region.hash)) return content;
  throw new BundleError(`${label}: region ${index} is not what its hash says`);
}
