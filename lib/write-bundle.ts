// Writes the bundle of one VM whose disks are ready to be read: the part that an export and a backup
// of OpenNebula have in common.
import { fittingFacts } from './bundle/fitting-facts.ts';
import type { ImageFacts, Manifest, ManifestDisk } from './bundle/manifest.ts';
import { readBackBeforehand } from './bundle/read-back.ts';
import { createBundleWriter, type BundleWriter } from './bundle/writer.ts';
import type { BundleTarget } from './destination.ts';
import { toolVersion } from './report/version.ts';
import type { Run } from './run/run.ts';
import { isInstalled } from './run/which.ts';
import type { OpenableDisk } from './storage/storage.ts';
import { pickCompressor, type CompressionChoice } from './tools/compressor.ts';
import { diskMember } from './vm/names.ts';
import { stateName } from './vm/states.ts';
import type { Vm } from './vm/vm.ts';

export interface BundleContent {
  readonly vm: Vm;
  /** The moment the export began. */
  readonly started: Date;
  readonly disks: readonly OpenableDisk[];
  /** What oned knows of the disks' images, by DISK_ID. */
  readonly images: ReadonlyMap<number, ImageFacts>;
  readonly consistency: Manifest['consistency'];
  readonly compression: CompressionChoice;
  /** Called when all is written, before the bundle gets its name. What it throws leaves no bundle. */
  readonly check?: () => Promise<void>;
}

/**
 * Writes the bundle as a `.part` and gives it its name when it is whole and on the disk.
 * @returns the bundle's size in bytes and what the manifest says of its disks
 * @throws an OnevmdumpError of any kind; no file is left then
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
    },
    consistency: { ...consistency },
  };
  readBackBeforehand(
    target.name,
    { ...known, created: started.toISOString(), compression: compressor.compression },
    content.disks.map(({ id }) => ({ id, member: diskMember(id) })),
  );
  const part = await run.journal.record(target.undo, target.host);
  const sink = await target.open();
  const writer = createBundleWriter(sink, compressor, {
    created: started,
    signal: run.signal,
    log: run.log,
  });
  try {
    await writer.addFile('./vm.xml', vm.xmlBytes);
    const disks: ManifestDisk[] = [];
    for (const disk of content.disks) {
      disks.push(await writeDisk(writer, disk, content.images.get(disk.id), run));
    }
    const { size } = await writer.finish({ ...known, disks });
    await content.check?.();
    await sink.commit();
    await part.done();
    return { size, disks };
  } catch (error) {
    await writer.abort();
    await sink.discard();
    throw error;
  }
}

/** Reads one disk at its instant into the bundle. */
async function writeDisk(
  writer: BundleWriter,
  disk: OpenableDisk,
  known: ImageFacts | undefined,
  run: Run,
): Promise<ManifestDisk> {
  const image = known && fittingFacts(known, (text) => run.log.warn(`disk ${disk.id}: ${text}`));
  const reader = await disk.open();
  try {
    const extents = await reader.extents();
    const total = extents.reduce((sum, { length }) => sum + length, 0);
    const task = run.progress.begin(`disk ${disk.id}`, total);
    try {
      const written = await writer.addDisk({ id: disk.id, ...disk.layout }, reader, task);
      return {
        id: disk.id,
        ...written,
        member: diskMember(disk.id),
        ...disk.layout,
        ...(image ? { image } : {}),
      };
    } finally {
      task.end();
    }
  } finally {
    await reader.close();
  }
}
