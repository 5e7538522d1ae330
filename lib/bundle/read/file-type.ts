// Asks file(1), which OpenNebula's datastore drivers ask too: its version knows rules that no list of
// ours has, such as a type that is decided by what lies behind a skipped block.
import type { BundleDisk } from './bundle.ts';
import { looksLike } from './disguised-disk.ts';
import { CommandError } from '../../report/errors.ts';
import { pipeThrough } from '../../run/pipe-through.ts';

/** file(1) looks at no more (FILE_BYTES_MAX of 5.34 and newer). */
const lookedAtBytes = 7 * 1024 * 1024;

/** What OpenNebula's datastore/downloader.sh decompresses or unpacks, 6.4.7 to 7.4.0. */
const unpacked: Readonly<Record<string, string>> = {
  'application/gzip': 'gzip',
  'application/x-gzip': 'gzip',
  'application/x-bzip2': 'bzip2',
  'application/x-xz': 'xz',
  'application/x-tar': 'tar',
  'application/zip': 'zip',
};

/**
 * What a raw disk would be taken for by QEMU's probing or by OpenNebula's datastore drivers; undefined when that is
 * raw. Where file(1) is not installed, the rules of lib/bundle/read/disguised-disk.ts decide alone.
 * @throws BundleError when the disk's beginning cannot be read
 */
export async function disguiseOf(
  disk: BundleDisk,
  signal?: AbortSignal,
): Promise<string | undefined> {
  return looksLike(await disk.head()) ?? (await unpackedAs(firstBytes(disk), signal));
}

/** What OpenNebula would unpack content as that begins with these bytes, as file(1) here says. */
export async function unpackedAs(
  content: AsyncIterable<Buffer>,
  signal?: AbortSignal,
): Promise<string | undefined> {
  // Node's pipes are sockets, of which file(1) reads the first bytes only.
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
    // Not installed, or broken: OpenNebula then unpacks nothing either, as it gets no answer.
    if (!(error instanceof CommandError)) throw error;
    return undefined;
  }
  // One that names several types, or more than one line, has found an archive somewhere.
  const said = Buffer.concat(answers).toString('latin1').trim().toLowerCase();
  return Object.entries(unpacked).find(([type]) => said.includes(type))?.[1];
}

/** The beginning of a disk, holes as zeros. */
async function* firstBytes(disk: BundleDisk): AsyncGenerator<Buffer> {
  const wanted = Math.min(disk.size, lookedAtBytes);
  let at = 0;
  for await (const { offset, data } of disk.pieces()) {
    const start = Math.min(offset, wanted);
    if (start > at) yield Buffer.alloc(start - at);
    at = Math.max(at, start);
    if (at === wanted) return;
    const part = Buffer.from(data.buffer, data.byteOffset, Math.min(data.length, wanted - at));
    yield part;
    at += part.length;
  }
  if (at < wanted) yield Buffer.alloc(wanted - at);
}
