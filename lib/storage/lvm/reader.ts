// Opens a logical volume. If it is a snapshot, also checks it: a snapshot that overflows while it is read must end
// the export with an error that says why.
import type { DiskReader } from '../../read/disk-reader.ts';
import { explainedReader } from '../../read/reader-with-reasons.ts';
import { FailedError } from '../../report/errors.ts';
import { formatBytes } from '../../report/format.ts';
import type { Run } from '../../run/run.ts';
import { activate, devicePath, lvmOn, readVolumeGroup, type Lvm } from '../../tools/lvm.ts';
import { openImage } from '../open-image.ts';
import { whileLocked } from './lock.ts';
import { diskVolume } from './names.ts';
import { roomInWords } from './room.ts';
import { lvmSettings } from './settings.ts';
import type { VolumeSource } from './source.ts';
import { diskLabel, type DumpPlan } from '../storage.ts';

/** Opens a volume for reading. A snapshot is checked when a read fails, and after the last byte. */
export async function openVolume(
  plan: DumpPlan,
  source: VolumeSource,
  run: Run,
): Promise<DiskReader> {
  const node = { driver: 'raw', path: devicePath(source), device: true } as const;
  const { virtualSize } = source;
  const label = diskLabel(plan);
  const open = (): Promise<DiskReader> => openImage({ node, virtualSize }, label, run);
  if (source.snapshot === undefined) return await open();

  const lvm = await lvmOn(run.runner, run.runnerAt(undefined));
  if (source.snapshot === 'thin') {
    const doing = `activate the snapshot ${source.name} of ${label}`;
    const { name } = diskVolume(plan.vm, plan.disk);
    await whileLocked(lvm, { group: source.group, name }, doing, () => activate(lvm, source));
  }
  const why = (): Promise<string | undefined> => whyUnusable(label, source, lvm, run);
  const explain = async (error: unknown): Promise<unknown> => {
    if (run.signal.aborted) return error;
    const text = await why().catch(() => undefined);
    return text === undefined ? error : new FailedError(text, { cause: error });
  };
  try {
    return checkedAtTheEnd(explainedReader(await open(), explain), why);
  } catch (error) {
    throw await explain(error);
  }
}

/** What was read may come from caches. Only the snapshot's own state shows that it was valid until the end. */
function checkedAtTheEnd(reader: DiskReader, why: () => Promise<string | undefined>): DiskReader {
  return {
    ...reader,
    async *read(extents) {
      yield* reader.read(extents);
      const text = await why();
      if (text !== undefined) throw new FailedError(text);
    },
  };
}

/** @returns why the snapshot cannot be trusted; undefined when it is good. */
async function whyUnusable(
  label: string,
  { group, name, snapshot }: VolumeSource,
  lvm: Lvm,
  run: Run,
): Promise<string | undefined> {
  const { volumes } = await readVolumeGroup(lvm, group);
  const found = volumes.get(name);
  if (!found) {
    return `the snapshot ${group}/${name} of ${label} was removed by somebody while it was being read`;
  }
  if (snapshot === 'thick') {
    if (!found.invalid) return undefined;
    return `the snapshot of ${label} is full: its guest overwrote more than the ${formatBytes(found.bytes)} there were for it before the disk had been read; raise ${roomInWords(run.settings(lvmSettings))}`;
  }
  const pool = volumes.get(found.pool ?? '');
  const health = [found.health, pool?.health].find((one) => one !== undefined && one !== '');
  if (health === undefined) return undefined;
  return `the thin pool ${group}/${found.pool ?? ''}, where the snapshot of ${label} lies, is in trouble (${health}): ${pool?.dataPercent ?? '?'} % of its ${formatBytes(pool?.bytes ?? 0)} and ${pool?.metadataPercent ?? '?'} % of its metadata are used; extend it with: lvextend -L +<size> ${group}/${found.pool ?? ''}`;
}
