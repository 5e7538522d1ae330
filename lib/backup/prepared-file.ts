// The file by which `prebackup` tells `backup` what it has fixed: JSON, written and read by this tool alone.
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  consistencyShape,
  diskLayoutShape,
  imageFactsShape,
  largestState,
  mostDisks,
} from '../bundle/format/manifest.ts';
import { FailedError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { list, object, optional, pair } from '../run/json-object.ts';
import { anything, count, made, parseShape, textUpTo, type Infer } from '../run/json-shape.ts';
import type { MachineState } from '../storage/machine-state.ts';
import { maxXmlBytes } from '../xml/xml.ts';

/** Another version of this tool makes, and reads, another number. */
const preparedVersion = 1;

/** Characters of base64 for so many bytes. */
const base64Length = (bytes: number): number => Math.ceil(bytes / 3) * 4;

/** Bytes that were compressed by gzip, in base64: UEFI variables are mostly empty space. */
function packedBytes(most: number) {
  return made('base64 of gzip', (value) => {
    // Of noise, gzip makes a little more than it was given.
    if (typeof value !== 'string' || value.length > base64Length(1.1 * most + 100))
      return undefined;
    try {
      return gunzipSync(Buffer.from(value, 'base64'), { maxOutputLength: most });
    } catch {
      return undefined;
    }
  });
}

const preparedShape = object({
  version: count(),
  /** The VM's XML as prebackup got it, in base64. */
  vm: textUpTo(base64Length(maxXmlBytes)),
  /** What oned knew of the disks' images, by DISK_ID. */
  images: list(pair(count(), imageFactsShape), mostDisks),
  consistency: consistencyShape,
  /** What the VM kept beside its disks. */
  state: object({
    nvram: optional(packedBytes(largestState['./nvram'])),
    tpm: optional(packedBytes(largestState['./tpm.tar'])),
  }),
  /** `source` is checked by the storage module that opens the disk. */
  disks: list(object({ id: count(), layout: diskLayoutShape, source: anything }), mostDisks),
});

export type PreparedFile = Infer<typeof preparedShape>;

/** @throws FailedError when the text is not such a file; facts of images that are wrong are left out with a warning */
export function parsePrepared(text: string, log: Log): PreparedFile {
  const fail = (why: string): FailedError => new FailedError(why);
  const { version } = parseShape(object({ version: count() }), text, fail);
  if (version !== preparedVersion) {
    throw fail('it was written by another version of onevmdump; back up the VM again');
  }
  return parseShape(preparedShape, text, fail, (why) => log.warn(`ignored: ${why}`));
}

/** The text of such a file. */
export function encodePrepared(file: Omit<PreparedFile, 'version' | 'state'>, state: MachineState) {
  return JSON.stringify({
    version: preparedVersion,
    ...file,
    state: {
      ...(state.nvram && { nvram: packed(state.nvram) }),
      ...(state.tpm && { tpm: packed(state.tpm) }),
    },
  });
}

function packed(bytes: Buffer): string {
  return gzipSync(bytes).toString('base64');
}
