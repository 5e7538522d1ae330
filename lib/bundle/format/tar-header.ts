// Headers of tar members. In a bundle, all files have the same mode, owner and time.
// ustar: POSIX.1-2001; PAX sparse members: GNU tar manual, "Storing Sparse Files, PAX Format 1.0".
import { posix } from 'node:path';
import { Header } from 'tar/header';

const blockSize = 512;

/** How many bytes are needed to pad a member of `size` bytes to whole blocks. */
export function tarPadding(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

/** The end of an archive: two blocks of zeros. */
export const endOfArchive = Buffer.alloc(2 * blockSize);

/** The header of the folder `./`, which all members are in. */
export function folderHeader(mtime: Date): Buffer {
  return folderHeaderOf('./', mtime);
}

/** The header of a folder. @param path with a slash at its end */
export function folderHeaderOf(path: string, mtime: Date): Buffer {
  return header({ path, type: 'Directory', mode: 0o700, size: 0, mtime });
}

/**
 * The header of a plain file. A size of 8 GiB or more is written in base-256, which every current tar reads. It is not
 * written as a PAX record `size`: Python's tarfile confuses that with the real size of a sparse member, and loses its
 * position in the archive.
 */
export function fileHeader(name: string, size: number, mtime: Date): Buffer {
  return header({ path: name, type: 'File', mode: 0o600, size, mtime });
}

/**
 * The headers of a sparse file (PAX sparse format 1.0).
 * @param name as it is restored, `./backup.disk.0`
 * @param realSize bytes of the file with its holes
 * @param storedSize bytes in the archive: the map and the extents
 */
export function sparseHeader(
  name: string,
  realSize: number,
  storedSize: number,
  mtime: Date,
): Buffer {
  const base = posix.basename(name);
  const records = Buffer.concat([
    paxRecord('GNU.sparse.major', '1'),
    paxRecord('GNU.sparse.minor', '0'),
    paxRecord('GNU.sparse.name', name),
    paxRecord('GNU.sparse.realsize', String(realSize)),
  ]);
  return Buffer.concat([
    header({
      path: `./PaxHeaders/${base}`,
      type: 'ExtendedHeader',
      mode: 0o600,
      size: records.length,
      mtime,
    }),
    records,
    Buffer.alloc(tarPadding(records.length)),
    fileHeader(`./GNUSparseFile.0/${base}`, storedSize, mtime),
  ]);
}

interface HeaderFields {
  readonly path: string;
  readonly type: 'File' | 'Directory' | 'ExtendedHeader';
  readonly mode: number;
  readonly size: number;
  readonly mtime: Date;
}

function header(fields: HeaderFields): Buffer {
  const seconds = Math.floor(fields.mtime.getTime() / 1000);
  const block = Buffer.alloc(blockSize);
  new Header({
    ...fields,
    mtime: new Date(seconds * 1000),
    uid: 0,
    gid: 0,
    uname: '',
    gname: '',
    linkpath: '',
  }).encode(block);
  return block;
}

/** `LENGTH KEY=VALUE\n`, where LENGTH also counts its own digits. `Pax` of npm's tar does not know GNU's keys. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}
