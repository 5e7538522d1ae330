// Asks file(1) for the type of a disk, as OpenNebula's datastore drivers do. The installed version may know rules that our list
// does not have, such as one that depends on the content after a skipped block.
import type { BundleDisk } from './bundle.ts';
import { looksLike } from './disguised-disk.ts';
import { CommandError } from '../../report/errors.ts';
import { pipeThrough } from '../../run/pipe-through.ts';

/** file(1) reads at most this many bytes (FILE_BYTES_MAX of 5.34 and newer). */
const lookedAtBytes = 7 * 1024 * 1024;

/** The types that OpenNebula's datastore/downloader.sh decompresses or unpacks (6.4.7 to 7.4.0). */
const unpacked: Readonly<Record<string, string>> = {
  'application/gzip': 'gzip',
  'application/x-gzip': 'gzip',
  'application/x-bzip2': 'bzip2',
  'application/x-xz': 'xz',
  'application/x-tar': 'tar',
  'application/zip': 'zip',
};

/**
 * The format that QEMU's probing or OpenNebula's datastore drivers would see in a raw disk; undefined: raw. When file(1) is not
 * installed, only the rules of lib/bundle/read/disguised-disk.ts are used.
 * @throws BundleError when the disk's beginning cannot be read
 */
export async function disguiseOf(
  disk: BundleDisk,
  signal?: AbortSignal,
): Promise<string | undefined> {
  return looksLike(await disk.head()) ?? (await unpackedAs(firstBytes(disk), signal));
}

/** The type as which OpenNebula would unpack this content, as file(1) on this machine reports it; undefined for none. */
export async function unpackedAs(
  content: AsyncIterable<Buffer>,
  signal?: AbortSignal,
): Promise<string | undefined> {
  // Through cat, because Node's pipes are sockets, and file(1) reads only the first bytes of a socket.
  const command = { program: 'sh', args: ['-c', 'cat | file --brief --mime-type -'] };
  const answers: Buffer[] = [];
  try {
    for await (const answer of pipeThrough(command, content, {
      doing: 'ask file(1) what a disk looks like',
      signal,
    })) {
      answers.push(answer);
    }
  } catch (error) {
    // file(1) is not installed, or broken. OpenNebula then gets no answer either, and unpacks nothing.
    if (!(error instanceof CommandError)) throw error;
    return undefined;
  }
  // An answer may have several types or lines; one of them is enough.
  const said = Buffer.concat(answers).toString('latin1').trim().toLowerCase();
  return Object.entries(unpacked).find(([type]) => said.includes(type))?.[1];
}

/** The first bytes of a disk, holes as zeros. */
async function* firstBytes(disk: BundleDisk): AsyncGenerator<Buffer> {
  const length = Math.min(disk.size, lookedAtBytes);
  let at = 0;
  for await (const { offset, data } of disk.pieces()) {
    const start = Math.min(offset, length);
    if (start > at) yield Buffer.alloc(start - at);
    at = Math.max(at, start);
    if (at === length) return;
    // A copy, since the program may take it later than the next piece is read.
    const part = Buffer.from(data.subarray(0, length - at));
    yield part;
    at += part.length;
  }
  if (at < length) yield Buffer.alloc(length - at);
}
