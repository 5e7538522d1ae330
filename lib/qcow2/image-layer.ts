// Reads the header of a qcow2 file on a storage, which may be one layer of an image: whether the file can be read at
// all, and its backing file. Whoever made the file wrote the header, so all input is validated.
// Format: QEMU, docs/interop/qcow2.txt.
import { FailedError, UnsupportedError, type OnevmdumpError } from '../report/errors.ts';
import { headerExtension, sectorSize } from './format.ts';
import { readQcow2Header, type HeaderFault, type Qcow2Header } from './header.ts';

/** This many bytes of a file are enough for every header that QEMU writes. */
export const headerBytes = 64 * 1024;

/** The longest name of a backing file, in bytes. */
const longestBackingName = 1023;

export interface ImageLayer {
  readonly header: Qcow2Header;
  /** Bytes as the guest sees them: QEMU leaves out an incomplete last sector. */
  readonly virtualSize: number;
  readonly backing: { readonly name: string; readonly format: string | undefined } | undefined;
}

/**
 * @param head the first bytes of the file, up to `headerBytes`.
 * @param name the file, for messages.
 * @throws UnsupportedError for encryption, an external data file, unknown features;
 *   FailedError when it is not a qcow2 file, or a damaged one.
 */
export function readImageLayer(head: Buffer, name: string): ImageLayer {
  const header = readQcow2Header(head, (fault, detail) => refusal(name, fault, detail));
  const damaged = (why: string) => refusal(name, 'damaged', why);
  const { clusterSize, backingName } = header;
  // As in QEMU, the extensions end where the name of the backing file begins, and both are in the first cluster.
  const limit = Math.min(clusterSize, head.length);
  const end = backingName.offset === 0 ? limit : backingName.offset;
  if (end < header.length || end > limit) throw damaged('its parts lie outside of it');
  const extensions = readExtensions(head.subarray(0, end), header.length, damaged);
  if (extensions.has(headerExtension.externalDataFile)) throw refusal(name, 'external data', '');
  const virtualSize = Math.floor(header.virtualSize / sectorSize) * sectorSize;
  if (backingName.offset === 0 || backingName.length === 0) {
    return { header, virtualSize, backing: undefined };
  }
  const nameEnd = end + backingName.length;
  if (backingName.length > longestBackingName || nameEnd > limit) {
    throw damaged('the name of its backing file');
  }
  const format = extensions.get(headerExtension.backingFormat);
  const backing = {
    name: text(head.subarray(end, nameEnd), damaged),
    format: format && text(format, damaged),
  };
  return { header, virtualSize, backing };
}

function refusal(name: string, fault: HeaderFault, detail: string): OnevmdumpError {
  switch (fault) {
    case 'not qcow2':
      return new FailedError(`${name} is declared as qcow2, but is not a qcow2 file`);
    case 'version':
      return new UnsupportedError(
        `${name} is qcow2 version ${detail}; only 2 and 3 can be handled`,
      );
    case 'encrypted':
      return new UnsupportedError(`${name} is encrypted; encrypted qcow2 images cannot be handled`);
    case 'unknown features':
      return new UnsupportedError(`${name} uses qcow2 features that this tool does not know`);
    case 'external data':
      return new UnsupportedError(`${name} keeps its data in an external file, which is refused`);
    case 'corrupt':
      return new FailedError(
        `${name} is marked as corrupt; check it with: qemu-img check -f qcow2 (and repair it with -r all)`,
      );
    case 'damaged':
      return new FailedError(`${name} is declared as qcow2, but its header is damaged: ${detail}`);
  }
}

/** The extensions by type: each has its type and length (4 bytes each), its data, and padding to 8 bytes. */
function readExtensions(
  area: Buffer,
  start: number,
  damaged: (why: string) => Error,
): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  let at = start;
  while (at + 8 <= area.length) {
    const type = area.readUInt32BE(at);
    const length = area.readUInt32BE(at + 4);
    if (type === headerExtension.end) break;
    const from = at + 8;
    if (from + length > area.length) throw damaged('an extension lies outside of it');
    if (found.has(type)) throw damaged('an extension occurs twice');
    found.set(type, area.subarray(from, from + length));
    at = from + Math.ceil(length / 8) * 8;
  }
  return found;
}

/** A name or word from the header. */
function text(bytes: Buffer, damaged: (why: string) => Error): string {
  const value = bytes.toString('utf8');
  if (/\p{Cc}/u.test(value) || !Buffer.from(value).equals(bytes)) {
    throw damaged('a name with unprintable characters');
  }
  return value;
}
