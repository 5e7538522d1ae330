// Reads a VM's XML from standard input: plain, as `onevm show -x` prints it and driver actions get it, or in base64, as
// OpenNebula's hook manager passes it (one line; the program `base64` wraps its lines).
import { errorMessage, UsageError } from '../report/errors.ts';
import { maxXmlBytes } from './xml.ts';

/** Bytes of the longest XML that is accepted, in base64 with line breaks. */
export const maxStdinBytes = Math.ceil(maxXmlBytes * 1.4);

const expected = "expected a VM's XML, plain or in base64";

/** What `readStdin` needs of process.stdin. */
export type InputStream = AsyncIterable<Uint8Array | string> & { readonly isTTY?: boolean };

/**
 * Reads the stream to its end.
 * @param limit in bytes
 * @throws UsageError when it is a terminal, is longer than `limit`, or cannot be read
 */
export async function readStdin(stream: InputStream, limit = maxStdinBytes): Promise<Buffer> {
  if (stream.isTTY === true) {
    throw new UsageError(
      `standard input is a terminal: ${expected}, for example from: onevm show -x <id> | ...`,
    );
  }
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of stream) {
      const bytes = Buffer.from(piece as Uint8Array);
      length += bytes.length;
      if (length > limit) break;
      pieces.push(bytes);
    }
  } catch (error) {
    throw new UsageError(`cannot read standard input: ${errorMessage(error)}`, { cause: error });
  }
  if (length > limit) throw new UsageError(`standard input has more than ${limit} bytes`);
  return Buffer.concat(pieces);
}

/**
 * The XML in the input from stdin or a hook's argument: the bytes themselves, or the decoded ones. `parseVm` checks whether it
 * is a VM's XML.
 * @throws UsageError when it is empty, or neither XML nor base64 of XML
 */
export function decodeVmInput(bytes: Buffer): Buffer {
  if (bytes[0] === 0xff || bytes[0] === 0xfe || bytes.includes(0)) {
    throw new UsageError(`the input is binary or UTF-16: ${expected} (UTF-8)`);
  }
  if (looksLikeXml(bytes)) return bytes;
  const text = bytes.toString('latin1').replaceAll(/[ \t\r\n]+/g, '');
  if (text === '') throw new UsageError(`the input is empty: ${expected}`);
  const decoded = Buffer.from(text, 'base64');
  // Buffer.from skips characters that are not base64, so the text is valid only if encoding gives the same text again.
  if (decoded.toString('base64') !== text || !looksLikeXml(decoded)) {
    throw new UsageError(`the input is neither XML nor base64 of XML: ${expected}`);
  }
  return decoded;
}

/** Whether the input begins with `<`, after an optional byte order mark and white space. */
function looksLikeXml(bytes: Buffer): boolean {
  return /^(?:\u{ef}\u{bb}\u{bf})?[ \t\r\n]*</u.test(bytes.toString('latin1', 0, 1024));
}
