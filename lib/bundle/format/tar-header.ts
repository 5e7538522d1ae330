// Headers of tar members, as bundles have them: mode, owner and time are the same everywhere.
// ustar: POSIX.1-2001; PAX sparse members: GNU tar manual, "Storing Sparse Files, PAX Format 1.0".
import { posix } from 'node:path';
import { Header } from 'tar/header';

const blockSize = 512;

/** How many bytes pad a member of `size` bytes to whole blocks. */
export function tarPadding(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

/** The end of an archive: two blocks of zeros. */
export const endOfArchive = Buffer.alloc(2 * blockSize);

/** The header of the folder itself. */
export function folderHeader(mtime: Date): Buffer {
  return folderHeaderOf('./', mtime);
}

/** The header of a folder. @param path with a slash at its end */
export function folderHeaderOf(path: string, mtime: Date): Buffer {
  return header({ path, type: 'Directory', mode: 0o700, size: 0, mtime });
}

/**
 * The header of a plain file. From 8 GiB on the size is in base-256, which every tar of today reads. Not
 * as a PAX record `size`: Python's tarfile confuses that with a sparse member's real size and loses its place.
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

/** `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits. The `Pax` of npm's tar knows no GNU keys. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}
