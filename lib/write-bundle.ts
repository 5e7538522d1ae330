// Writes the bundle of one VM whose disks are ready to be read. Exports and OpenNebula's backups share this part.
import { createHash } from 'node:crypto';
import { fittingFacts } from './bundle/write/fitting-facts.ts';
import type {
  ImageFacts,
  Manifest,
  ManifestDisk,
  ManifestState,
} from './bundle/format/manifest.ts';
import { readBackBeforehand } from './bundle/write/read-back.ts';
import { largestData, requireRoomInIndex } from './bundle/write/index-room.ts';
import { BundleWriter, unwrittenDisk, type WrittenDisk } from './bundle/write/writer.ts';
import type { BundleTarget } from './bundle/location/destination.ts';
import type { OneClient } from './one/client.ts';
import { errorMessage } from './report/errors.ts';
import { toolVersion } from './report/version.ts';
import type { Run } from './run/run.ts';
import { isInstalled } from './run/which.ts';
import type { MachineState } from './storage/machine-state.ts';
import type { OpenableDisk } from './storage/storage.ts';
import type { CompressionChoice } from './bundle/compression/compressions.ts';
import { pickCompressor } from './bundle/write/compressor.ts';
import { identityOf } from './vm/identity.ts';
import { stateName } from './vm/states.ts';
import type { Vm } from './vm/vm.ts';

/** How a bundle is written. `exportVm` passes on all that its caller asks for. */
export interface WriteOptions {
  readonly compression: CompressionChoice;
}

export interface BundleContent extends WriteOptions {
  readonly vm: Vm;
  /** When the export began. */
  readonly started: Date;
  readonly disks: readonly OpenableDisk[];
  /** UEFI variables and vTPM state. */
  readonly state?: MachineState;
  /** What oned knows about the disks' images, by DISK_ID. */
  readonly images: ReadonlyMap<number, ImageFacts>;
  readonly consistency: Manifest['consistency'];
  /** DISK_IDs that were not requested; undefined when all were. */
  readonly leftOut?: readonly number[] | undefined;
  /** The OpenNebula that the VM belongs to. */
  readonly cloud?: NonNullable<Manifest['cloud']>;
  /** Called after everything is written, before the bundle gets its name. If it rejects, no bundle is left. */
  readonly check?: () => Promise<void>;
}

/** What a bundle says about the OpenNebula of its VM. @param name CLOUD_NAME; empty for none */
export function cloudOf(
  name: string,
  one: Pick<OneClient, 'endpoint'> | undefined,
): NonNullable<Manifest['cloud']> {
  return { ...(name === '' ? {} : { name }), ...(one ? { endpoint: one.endpoint } : {}) };
}

/**
 * Writes the bundle to a `.part` file, which gets its name when it is complete and synced to storage.
 * @returns the bundle's size in bytes, and its disks as the manifest describes them
 * @throws an OnevmdumpError of any kind; then no file is left
 */
export async function writeBundle(
  target: BundleTarget,
  content: BundleContent,
  run: Run,
): Promise<{ readonly size: number; readonly disks: readonly ManifestDisk[] }> {
  const { vm, started, consistency } = content;
  const compressor = await pickCompressor(content.compression, isInstalled);
  const known = {
    tool: { name: 'onevmdump', version: toolVersion },
    vm: {
      id: vm.id,
      name: vm.name,
      state: stateName(vm.state, vm.lcmState),
      ...(vm.history ? { hostname: vm.history.hostname } : {}),
      ...identityOf(vm),
    },
    ...(content.cloud ? { cloud: content.cloud } : {}),
    consistency: { ...consistency },
    ...(content.leftOut ? { leftOut: content.leftOut } : {}),
  };
  readBackBeforehand(target.name, {
    ...known,
    created: started.toISOString(),
    compression: compressor.compression,
    disks: content.disks.map((disk) => manifestDisk(disk, unwrittenDisk(disk.id))),
  });
  await requireRoom(content);
  const images = fittingFacts(
    new Map(
      content.disks.flatMap(({ id }) => {
        const facts = content.images.get(id);
        return facts ? [[id, facts]] : [];
      }),
    ),
    (text) => run.log.warn(text),
  );
  const part = await run.journal.record(target.undo, target.host);
  const sink = await target.open();
  const writer = new BundleWriter(sink, compressor, {
    created: started,
    signal: run.signal,
    log: run.log,
  });
  try {
    await writer.addFile('./vm.xml', vm.xmlBytes);
    const state: ManifestState[] = [];
    for (const [member, bytes] of [
      ['./nvram', content.state?.nvram],
      ['./tpm.tar', content.state?.tpm],
    ] as const) {
      if (!bytes) continue;
      await writer.addFile(member, bytes);
      state.push({ member, sha256: createHash('sha256').update(bytes).digest('hex') });
    }
    const disks: ManifestDisk[] = [];
    for (const disk of content.disks) {
      disks.push(await writeDisk(writer, disk, images.get(disk.id), run));
    }
    const { size } = await writer.finish({ ...known, disks, state });
    await content.check?.();
    await sink.commit();
    await part.done();
    return { size, disks };
  } catch (error) {
    await writer.abort();
    // The undo is still in the journal and will be tried again.
    await sink.discard().catch((reason: unknown) => run.log.warn(errorMessage(reason)));
    throw error;
  }
}

/**
 * When the declared sizes are near the limit of a bundle, adds up the data of all disks before any disk is read.
 * @throws UnsupportedError when a bundle cannot hold it
 */
async function requireRoom({ vm, disks }: BundleContent): Promise<void> {
  const declared = vm.disks.reduce((sum, { sizeMb = 0 }) => sum + sizeMb * 2 ** 20, 0);
  if (declared < largestData / 2) return;
  let data = 0;
  for (const disk of disks) {
    const reader = await disk.open();
    try {
      data += (await reader.extents()).dataBytes;
    } finally {
      await reader.close();
    }
  }
  requireRoomInIndex(`VM ${vm.id}`, data);
}

/** How the manifest describes a disk. */
function manifestDisk(
  { id, layout }: OpenableDisk,
  written: WrittenDisk,
  image?: ImageFacts,
): ManifestDisk {
  return { id, ...written, ...layout, ...(image ? { image } : {}) };
}

/** Copies one disk, as of its point in time, into the bundle. */
async function writeDisk(
  writer: BundleWriter,
  disk: OpenableDisk,
  image: ImageFacts | undefined,
  run: Run,
): Promise<ManifestDisk> {
  const reader = await disk.open();
  try {
    const { dataBytes } = await reader.extents();
    const task = run.progress.begin(`disk ${disk.id}`, dataBytes);
    try {
      const written = await writer.addDisk({ id: disk.id, ...disk.layout }, reader, task);
      return manifestDisk(disk, written, image);
    } finally {
      task.end();
    }
  } finally {
    await reader.close();
  }
}
