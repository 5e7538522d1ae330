// Reads a bundle without an index: it was written by the older onevmdump (GNU tar), compressed again, or lost its end. It is
// read from the front, once to list it, and once for each pass over a disk.
import { createHash } from 'node:crypto';
import { BundleError } from '../../report/errors.ts';
import type { BundleDisk, BundleSource, StateFile } from './bundle.ts';
import type { ByteReader } from './byte-reader.ts';
import { emptyHead, fillHead } from './checked-pieces.ts';
import { memberNamed } from './member-places.ts';
import { readAboutMember, readManifestMember } from './manifest-read.ts';
import { compressionNames, compressions, type Compression } from '../compression/compressions.ts';
import { requireSameAbout } from '../format/manifest-parse.ts';
import {
  isStateMember,
  mostDisks,
  type About,
  type Manifest,
  type StateMember,
} from '../format/manifest.ts';
import { LostEndError } from '../lost-end-error.ts';
import { onlyIndexIsLost } from './lost-index.ts';
import { memberLabel } from '../format/member-name.ts';
import { describedBytes, describeOther } from './other-formats.ts';
import {
  largestVmXml,
  prefixError,
  type OpenedContent,
  type OpenOptions,
} from './opened-bundle.ts';
import { diskPieces, findState, openStream, skipMember } from './scanned-passes.ts';
import { readState } from './state-file.ts';
import { memberBytes, memberPieces, nextMember, type TarMember } from './tar-member.ts';

interface ScannedDisk {
  readonly id: number;
  readonly member: string;
  readonly size: number;
  readonly dataBytes: number;
  readonly head: Buffer;
  /** Whether this tool wrote it as raw: GNU tar has its process id where we have 0 (tar-header.ts). */
  readonly isRaw: boolean;
}

/**
 * Opens a bundle without an index.
 * @throws BundleError when the file is not a bundle, is damaged, or contains what a bundle must not contain
 */
export async function openScanned(
  source: BundleSource,
  { log, signal, salvage = false }: OpenOptions,
): Promise<OpenedContent> {
  const compression = await detectCompression(source);
  log.debug(`${source.name} has no index: reading it from the front`);
  const scanned = await scan(source, compression, salvage, { log, signal });
  const { vmXml, about, manifest, found, kept, cut, indexLost } = scanned;
  if (!vmXml) throw new BundleError('it holds no vm.xml');
  const optional = about?.optional ?? [];
  const disks = found
    .sort((first, second) => first.id - second.id)
    .map((disk): BundleDisk => {
      const announced = about?.disks.find(({ id }) => id === disk.id);
      const listed = manifest?.disks.find(({ id }) => id === disk.id);
      const { id, size, dataBytes } = disk;
      // Whoever packs a disk anew may find other holes in it; its checksum stays.
      const expected = { id, size, dataBytes, content: announced, checksum: listed?.checksum };
      return {
        id: disk.id,
        member: disk.member,
        size: disk.size,
        dataBytes: disk.dataBytes,
        format: announced?.format ?? (disk.isRaw ? 'raw' : undefined),
        head: () => Promise.resolve(Buffer.from(disk.head)),
        pieces: () => diskPieces(source, compression, { ...expected, optional }, signal),
      };
    });
  if (manifest) {
    if (!about) throw new BundleError('it holds no about.json');
    requireSameAbout(about, manifest);
    checkManifest(manifest, disks, kept);
    if (createHash('sha256').update(vmXml).digest('hex') !== sha256Of(manifest, './vm.xml')) {
      throw new BundleError('vm.xml is not the one that its manifest was written for');
    }
  }
  const state = kept.map(({ member, size }): StateFile => {
    const expected = { member, sha256: manifest && sha256Of(manifest, member), optional };
    return { member, size, read: () => findState(source, compression, expected, signal) };
  });
  return { indexed: false, indexLost, compression, about, manifest, vmXml, state, disks, cut };
}

function sha256Of({ members }: Manifest, name: string): string | undefined {
  return members.find((member) => member.name === name)?.sha256;
}

/** Detects the compression from the first bytes of the file. @throws BundleError when it is not one of a bundle */
async function detectCompression(source: BundleSource): Promise<Compression> {
  const start = await source.read(0, describedBytes);
  const found = compressionNames.find((name) => compressions[name].isStart(start));
  if (found) return found;
  const other = describeOther(start);
  throw new BundleError(`it is not an onevmdump bundle${other === undefined ? '' : `: ${other}`}`);
}

/** Reads the whole bundle once. @param salvage whether a bundle that lost its end is accepted, with what is before that */
async function scan(
  source: BundleSource,
  compression: Compression,
  salvage: boolean,
  { log, signal }: OpenOptions,
) {
  const input = openStream(source, compression, signal);
  const seen = new Set<string>();
  const found: ScannedDisk[] = [];
  const kept: { member: StateMember; size: number }[] = [];
  let vmXml: Buffer | undefined;
  let about: About | undefined;
  let manifest: Manifest | undefined;
  let label = 'it is not an onevmdump bundle';
  let cut: string | undefined;
  /** Whether onevmdump wrote the archive, whose first header differs from GNU tar's. */
  let isOwn = false;
  /** The last disk that was read. Its last frame is checked only when the stream goes on after it, or ends. */
  let unchecked: ScannedDisk | undefined;
  try {
    for (;;) {
      if (unchecked) {
        await input.atEnd();
        found.push(unchecked);
        unchecked = undefined;
      }
      const member = await nextMember(input, about?.optional);
      if (!member) break;
      label = memberLabel(member.name);
      if (seen.has(label)) throw new BundleError('occurs twice');
      seen.add(label);
      switch (member.name.kind) {
        case 'folder':
          isOwn = member.isOwn;
          break;
        case 'vm.xml':
          vmXml = await memberBytes(input, member, largestVmXml);
          break;
        case 'nvram':
        case 'tpm.tar': {
          const name = `./${member.name.kind}` as const;
          const { length } = await readState(input, member, { member: name });
          kept.push({ member: name, size: length });
          break;
        }
        case 'about.json':
          about = await readAboutMember(input, member);
          break;
        case 'manifest.json':
          ({ manifest } = await readManifestMember(input, member, log));
          break;
        // The table of a disk is compared with it when that is read.
        case 'regions':
        case 'optional':
          await skipMember(input, member);
          break;
        case 'disk':
          if (found.length >= mostDisks)
            throw new BundleError(`it has more than ${mostDisks} disks`);
          unchecked = await scanDisk(input, member, member.name.id);
      }
      label = `after ${label}`;
    }
    // In an uncompressed bundle, this is the only sign of an end that was overwritten with zeros.
    if (!manifest && isOwn) {
      throw new LostEndError('the manifest that onevmdump writes is missing');
    }
  } catch (error) {
    const damage = prefixError(label, error);
    if (!(error instanceof LostEndError) || !(damage instanceof BundleError) || !vmXml)
      throw damage;
    if (manifest && (await onlyIndexIsLost(source, manifest, compression, signal))) {
      log.warn(
        `the index at the end of the bundle is damaged, its disks are not: ${damage.message}`,
      );
      return { vmXml, about, manifest, found, kept, cut, indexLost: true };
    }
    if (!salvage) {
      const ids = found.map(({ id }) => id);
      throw new BundleError(`${damage.message}; ${whatIsWhole(ids)}`, {
        cause: damage,
        code: 'bundle-cut',
        facts: { bundle: source.name, wholeDisks: ids },
      });
    }
    cut = damage.message;
  } finally {
    await input.close();
  }
  return { vmXml, about, manifest, found, kept, cut, indexLost: false };
}

const mostNamed = 10;

function whatIsWhole(ids: readonly number[]): string {
  if (ids.length === 0) return 'vm.xml is whole: get it with onevmdump extract --vm-xml --salvage';
  const more = ids.length > mostNamed ? ` and ${ids.length - mostNamed} more` : '';
  const named = ids.slice(0, mostNamed).join(', ');
  return `what comes before that is whole (disk ${named}${more}): get it with onevmdump restore --salvage or extract --salvage`;
}

async function scanDisk(input: ByteReader, member: TarMember, id: number): Promise<ScannedDisk> {
  const { path, isOwn, map } = member;
  const head = emptyHead(map.size);
  for await (const piece of memberPieces(input, member)) fillHead(head, piece);
  return { id, member: path, size: map.size, dataBytes: map.dataBytes, head, isRaw: isOwn };
}

/** Checks that the manifest describes exactly these disks and state members. @throws BundleError */
function checkManifest(
  manifest: Manifest,
  disks: readonly BundleDisk[],
  kept: readonly { readonly member: StateMember }[],
): void {
  const listed = manifest.members
    .map(({ name }) => name)
    .filter(isStateMember)
    .join(' ');
  if (listed !== kept.map(({ member }) => member).join(' ')) {
    throw new BundleError(
      'manifest.json does not list ./nvram and ./tpm.tar as the archive has them',
    );
  }
  if (manifest.disks.length !== disks.length) {
    throw new BundleError('manifest.json describes other disks than the archive holds');
  }
  for (const described of manifest.disks) {
    const disk = disks.find(({ id }) => id === described.id);
    if (disk?.size !== memberNamed(manifest, described.member).size) {
      throw new BundleError(`manifest.json does not describe disk ${described.id} as it is`);
    }
  }
}
