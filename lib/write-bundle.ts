// Writes the bundle of one VM whose disks are ready to be read. Exports and OpenNebula's backups share this part.
import { randomUUID } from 'node:crypto';
import { fittingFacts } from './bundle/write/fitting-facts.ts';
import {
  manifestVersion,
  type About,
  type AboutDisk,
  type ImageFacts,
  type Manifest,
  type ManifestDisk,
} from './bundle/format/manifest.ts';
import { readBackAbout } from './bundle/write/read-back.ts';
import { largestData, requireRoomInTable } from './bundle/write/table-room.ts';
import { BundleWriter } from './bundle/write/writer.ts';
import type { BundleTarget } from './bundle/location/destination.ts';
import type { OneClient } from './one/client.ts';
import { errorMessage, FailedError } from './report/errors.ts';
import { toolVersion } from './report/version.ts';
import type { Run } from './run/run.ts';
import type { MachineState } from './storage/machine-state.ts';
import type { OpenableDisk } from './storage/storage.ts';
import type { FrameCodec } from './bundle/write/compressor.ts';
import { identityOf } from './vm/identity.ts';
import { diskMember } from './vm/names.ts';
import { stateName } from './vm/states.ts';
import type { Vm } from './vm/vm.ts';

export interface BundleContent {
  /** What it is compressed with. */
  readonly codec: FrameCodec;
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
  const { vm, started } = content;
  const images = fittingFacts(
    new Map(
      content.disks.flatMap(({ id }) => {
        const facts = content.images.get(id);
        return facts ? [[id, facts]] : [];
      }),
    ),
    (text) => run.log.warn(text),
  );
  const about = aboutOf(content, images);
  readBackAbout(target.name, Buffer.from(JSON.stringify(about)));
  await requireRoom(content);
  const part = await run.journal.record(target.undo, target.host);
  const sink = await target.open();
  const writer = new BundleWriter(sink, content.codec, {
    created: started,
    signal: run.signal,
    largestDisk: Math.max(0, ...content.disks.map(({ virtualSize }) => virtualSize)),
    log: run.log,
  });
  try {
    await writer.addFile('./vm.xml', vm.xmlBytes);
    await writer.addAbout(about);
    for (const [member, bytes] of [
      ['./nvram', content.state?.nvram],
      ['./tpm.tar', content.state?.tpm],
    ] as const) {
      if (bytes) await writer.addFile(member, bytes);
    }
    const disks: ManifestDisk[] = [];
    for (const [n, announced] of about.disks.entries()) {
      const disk = content.disks[n];
      if (disk) disks.push(await writeDisk(writer, disk, announced, run));
    }
    const { size } = await writer.finish(disks);
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
 * Looks at the data of the disks that are larger than a bundle can hold, before any disk is read.
 * @throws UnsupportedError when a bundle cannot hold it
 */
async function requireRoom({ disks }: BundleContent): Promise<void> {
  for (const disk of disks) {
    if (disk.virtualSize < largestData) continue;
    const reader = await disk.open();
    try {
      requireRoomInTable(`disk ${disk.id}`, (await reader.extents()).dataBytes);
    } finally {
      await reader.close();
    }
  }
}

/** What is known before the disks are read. */
function aboutOf(
  { vm, started, cloud, consistency, leftOut, disks }: BundleContent,
  images: ReadonlyMap<number, ImageFacts>,
): About {
  return {
    format: 'onevmdump',
    version: manifestVersion,
    id: randomUUID(),
    tool: { name: 'onevmdump', version: toolVersion },
    created: started.toISOString(),
    vm: {
      id: vm.id,
      name: vm.name,
      state: stateName(vm.state, vm.lcmState),
      ...(vm.history ? { hostname: vm.history.hostname } : {}),
      ...identityOf(vm),
    },
    ...(cloud ? { cloud } : {}),
    consistency: { ...consistency },
    ...(leftOut ? { leftOut } : {}),
    disks: disks.map(({ id, layout, virtualSize }) => {
      const image = images.get(id);
      return { id, member: diskMember(id), ...layout, virtualSize, ...(image ? { image } : {}) };
    }),
  };
}

/** Copies one disk, as of its point in time, into the bundle. */
async function writeDisk(
  writer: BundleWriter,
  disk: OpenableDisk,
  announced: AboutDisk,
  run: Run,
): Promise<ManifestDisk> {
  const reader = await disk.open();
  try {
    if (reader.virtualSize !== announced.virtualSize) {
      throw new FailedError(
        `disk ${disk.id} has ${reader.virtualSize} bytes, and had ${announced.virtualSize} when the export began`,
      );
    }
    const { dataBytes } = await reader.extents();
    const task = run.progress.begin(`disk ${disk.id}`, dataBytes);
    try {
      const written = await writer.addDisk({ id: disk.id, ...disk.layout }, reader, task);
      return { ...announced, ...written };
    } finally {
      task.end();
    }
  } finally {
    await reader.close();
  }
}
