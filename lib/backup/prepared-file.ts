// The file through which `prebackup` passes the point in time to `backup`: JSON that only this tool writes and reads.
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
import {
  anything,
  count,
  made,
  oneOf,
  parseShape,
  textUpTo,
  type Infer,
} from '../run/json-shape.ts';
import type { MachineState } from '../storage/machine-state.ts';
import { maxXmlBytes } from '../xml/xml.ts';

/** Raised when the form of the file changes; other versions are refused. */
const preparedVersion = 3;

/** The number of base64 characters for a number of bytes. */
const base64Length = (bytes: number): number => Math.ceil(bytes / 3) * 4;

/** Bytes compressed with gzip, in base64. They are compressed because UEFI variables are mostly zeros. */
function packedBytes(most: number) {
  return made('base64 of gzip', (value) => {
    // Random bytes become slightly longer when gzip compresses them.
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
  /** What oned knew about the disks' images, by DISK_ID. */
  images: list(pair(count(), imageFactsShape), mostDisks),
  consistency: consistencyShape,
  /** UEFI variables and vTPM state. */
  state: object({
    nvram: optional(packedBytes(largestState['./nvram'])),
    tpm: optional(packedBytes(largestState['./tpm.tar'])),
  }),
  /** `source` is checked by what opens the disk. */
  disks: list(
    object({
      id: count(),
      layout: diskLayoutShape,
      virtualSize: count(),
      byJob: optional(oneOf(true)),
      source: anything,
    }),
    mostDisks,
  ),
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
