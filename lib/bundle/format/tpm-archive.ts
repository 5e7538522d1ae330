// The state of a vTPM as a small tar archive: `tpm/` with a few plain files, as OpenNebula 7.2 keeps it in the VM's
// folder and in its own backups (`disk.tpm.0`, compressed). The archive comes from a host or from a bundle, and
// OpenNebula unpacks it into the folder of a VM. So only plain files directly below `tpm/` are accepted.
import { Header } from 'tar/header';
import { BundleError } from '../../report/errors.ts';
import { endOfArchive, fileHeader, folderHeaderOf, tarPadding } from './tar-header.ts';

const blockSize = 512;
/** The state has one file, and perhaps a lock file. */
const mostFiles = 20;

/** A file below `tpm/`. */
export interface TpmFile {
  /** Without a folder: `tpm2-00.permall`. */
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * Returns the files of such an archive.
 * @throws BundleError when the archive is damaged or empty, or holds something that is not a plain file in `tpm/`
 */
export function parseTpmArchive(archive: Buffer): readonly TpmFile[] {
  const files: TpmFile[] = [];
  for (let at = 0; at + blockSize <= archive.length;) {
    const header = headerAt(archive, at);
    at += blockSize;
    if (!header) break;
    const path = (header.path ?? '').replace(/^\.\//, '');
    if (header.type === 'Directory' && /^(?:tpm)?\/?$/.test(path)) continue;
    const [, name] = /^tpm\/([A-Za-z0-9._-]{1,90})$/.exec(path) ?? [];
    const size = header.size ?? NaN;
    const isFile = header.type === 'File' || header.type === 'OldFile';
    if (!isFile || name === undefined || /^\.+$/.test(name) || !(size >= 0)) {
      throw new BundleError('the state of the vTPM holds something else than plain files in tpm/');
    }
    if (at + size > archive.length) throw new BundleError('the state of the vTPM ends early');
    if (files.length >= mostFiles)
      throw new BundleError('the state of the vTPM has too many files');
    files.push({ name, bytes: archive.subarray(at, at + size) });
    at += size + tarPadding(size);
  }
  if (files.length === 0) throw new BundleError('the state of the vTPM holds no file');
  return files;
}

/** Makes the archive of these files: the same bytes for the same files. */
export function encodeTpmArchive(files: readonly TpmFile[]): Buffer {
  const never = new Date(0);
  const parts = [folderHeaderOf('tpm/', never)];
  for (const { name, bytes } of files) {
    parts.push(fileHeader(`tpm/${name}`, bytes.length, never), bytes);
    parts.push(Buffer.alloc(tarPadding(bytes.length)));
  }
  return Buffer.concat([...parts, endOfArchive]);
}

/** Undefined for a block of zeros. */
function headerAt(archive: Buffer, at: number): Header | undefined {
  let header: Header;
  try {
    header = new Header(archive, at);
  } catch (cause) {
    throw new BundleError('the state of the vTPM is no tar archive', { cause });
  }
  if (header.nullBlock) return undefined;
  if (header.cksumValid) return header;
  throw new BundleError('the state of the vTPM is no tar archive');
}
