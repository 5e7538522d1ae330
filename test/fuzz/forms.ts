// Small bundles in all forms that are read, and ways to change them from the inside.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { decodeTrailer, encodeTrailer } from '../../lib/bundle/format/trailer.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { endOfArchive, tarMember } from '../support/read-bundle.ts';
import { makeDisk, noise, tool, writeBundle } from '../support/write-bundle.ts';
import { mutate, type Chance } from './mutations.ts';

/** What a mutated bundle may say. */
export interface Form {
  readonly name: string;
  readonly bytes: Buffer;
  /** Whether checksums of its own cover the content, so that no change of a byte can go unnoticed. */
  readonly isProven: boolean;
}

const packers = {
  gzip: ['gzip', '-nc'],
  zstd: ['zstd', '-cq', '--check'],
  none: ['cat'],
} as const;
const unpackers = { gzip: ['gzip', '-dc'], zstd: ['zstd', '-dcq'], none: ['cat'] } as const;
const methods = ['gzip', 'zstd', 'none'] as const;

function filter([program, ...args]: readonly [string, ...string[]], input: Buffer): Buffer {
  return execFileSync(program, args, { input, maxBuffer: 1 << 28 });
}

/** VM 7 with a raw disk 0 and a qcow2 disk 1, as restore wants it. */
export function vmXml(): Buffer {
  const disk = (id: number, format: string) =>
    `<DISK><DISK_ID>${id}</DISK_ID><TYPE>FILE</TYPE><FORMAT>${format}</FORMAT><DRIVER>${format}</DRIVER><SIZE>1</SIZE><IMAGE>i${id}</IMAGE><IMAGE_ID>${40 + id}</IMAGE_ID><DATASTORE>default</DATASTORE><DATASTORE_ID>1</DATASTORE_ID><TM_MAD>ssh</TM_MAD><TARGET>vd${id === 0 ? 'a' : 'b'}</TARGET></DISK>`;
  return Buffer.from(
    `<VM><ID>7</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME><NAME>fuzz</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><STIME>1</STIME><DEPLOY_ID>one-7</DEPLOY_ID><TEMPLATE><CPU>1</CPU><MEMORY>64</MEMORY>${disk(0, 'raw')}${disk(1, 'qcow2')}<TM_MAD_SYSTEM>ssh</TM_MAD_SYSTEM></TEMPLATE><USER_TEMPLATE/><HISTORY_RECORDS><HISTORY><OID>7</OID><SEQ>0</SEQ><HOSTNAME>h</HOSTNAME><TM_MAD>ssh</TM_MAD><DS_ID>0</DS_ID></HISTORY></HISTORY_RECORDS></VM>`,
  );
}

/** @param folder an empty one, for the disks */
export async function makeForms(folder: string): Promise<readonly Form[]> {
  const at = (name: string) => join(folder, name);
  const extents = [0, 8192, 65_536, 200_704].map((offset) => ({ offset, length: 4096 }));
  await makeDisk(at('disk'), 2 ** 20, extents);
  const forms: Form[] = [];
  for (const method of methods) {
    const disk = { path: at('disk'), virtualSize: 2 ** 20, extents };
    await writeBundle(
      at('bundle'),
      await pickCompressor({ method }),
      [
        { ...disk, layout: { format: 'raw' } },
        { ...disk, layout: { format: 'qcow2', clusterSize: 4096 } },
      ],
      { vmXml: vmXml(), nvram: noise(3000) },
    );
    const bytes = readFileSync(at('bundle'));
    tool('rm', at('bundle'));
    forms.push({ name: `indexed ${method}`, bytes, isProven: true });
  }
  mkdirSync(at('old'));
  writeFileSync(at('old/vm.xml'), vmXml());
  await makeDisk(at('old/backup.disk.0'), 2 ** 20, extents);
  tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', at('disk'), at('old/backup.disk.1'));
  const sparse = [[], ...['0.0', '0.1', '1.0'].map((one) => ['--format=posix', `--sparse-version=${one}`])]; // prettier-ignore
  for (const options of sparse) {
    const tar = execFileSync('tar', ['-C', at('old'), '-cS', ...options, './'], { maxBuffer: 1 << 28 }); // prettier-ignore
    for (const method of options.length === 0 ? methods : (['gzip'] as const)) {
      forms.push({
        name: `GNU tar ${options.at(-1) ?? ''} ${method}`,
        bytes: filter(packers[method], tar),
        isProven: method !== 'none',
      });
    }
  }
  return forms;
}

/** Changes the tar stream inside of the compression, or the manifest behind right checksums. */
export function mutateInside({ name, bytes }: Form, chance: Chance): Buffer {
  const method = methods.find((one) => name.endsWith(one)) ?? 'none';
  if (name === 'indexed none' && chance.below(2) === 0) return mutateManifest(bytes, chance);
  return filter(packers[method], mutate(filter(unpackers[method], bytes), chance));
}

function mutateManifest(bytes: Buffer, chance: Chance): Buffer {
  const trailer = decodeTrailer(bytes.subarray(-512), bytes.length);
  if (!trailer) throw new Error('no trailer');
  const start = trailer.offset + 512;
  const size = parseInt(bytes.toString('latin1', trailer.offset + 124, trailer.offset + 135), 8);
  const json = mutate(bytes.subarray(start, start + size), chance);
  const member = tarMember({ path: './manifest.json', data: json });
  const last = Buffer.concat([member, endOfArchive]);
  const sha256 = createHash('sha256').update(json).digest();
  const place = { offset: trailer.offset, stored: last.length, crc32: crc32(last), sha256 };
  const end = encodeTrailer({ compression: 'none', ...place });
  return Buffer.concat([bytes.subarray(0, trailer.offset), last, end]);
}
