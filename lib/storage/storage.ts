// The contract between the export and the storages. A module knows one kind of storage: how the point in time of its
// disks is fixed, and how a disk at that point in time is opened. Only registry.ts decides which module serves a
// disk.
import type { ConsistencyLevel, DiskFormat, DiskLayout } from '../bundle/format/manifest.ts';
import type { Setting } from '../config/setting.ts';
import type { DiskReader } from '../read/disk-reader.ts';
import { FailedError } from '../report/errors.ts';
import { readShape, type Shape } from '../run/json-shape.ts';
import type { Run } from '../run/run.ts';
import type { DiskPlace } from '../guest/same-disk.ts';
import type { UndoKind, UndoDeps } from '../run/undo.ts';
import type { Disk, Vm } from '../vm/vm.ts';

/** What is to be dumped, as far as it is known without looking at the storage. */
export interface DumpPlan {
  readonly vm: Vm;
  readonly disk: Disk;
  readonly format: DiskFormat;
}

/** A disk whose point in time is fixed. */
export interface Snapshot<Source = unknown> {
  readonly plan: DumpPlan;
  readonly layout: DiskLayout;
  /** Bytes, as the guest sees them. */
  readonly virtualSize: number;
  /** Whether QEMU serves the disk, in a backup job (lib/storage/job). Otherwise its storage has the point in time. */
  readonly byJob?: true | undefined;
  /**
   * How the disk is opened: JSON that only its module reads, or only the job, in this process or in a later one
   * (`sourceOf`).
   */
  readonly source: Source;
}

/** A disk to which a running guest writes. */
export interface RunningDisk {
  readonly plan: DumpPlan;
  /** Where QEMU must write to. */
  readonly place: DiskPlace;
  /** Bytes. */
  readonly virtualSize: number;
  readonly layout: DiskLayout;
  /** Whether QEMU may not know the holes of the disk, which its storage does: then it reads the whole disk. */
  readonly holesUnknown?: boolean;
  /** Why this QEMU cannot be trusted to serve it. */
  readonly unservable?: string | undefined;
}

/**
 * Returns what is noted about a snapshot. It may come from a file, so it is validated.
 * @throws FailedError when it is not of this shape
 */
export function sourceOf<Source>(shape: Shape<Source>, { plan, source }: Snapshot): Source {
  return readShape(
    shape,
    source,
    (why) => new FailedError(`what is known of ${diskLabel(plan)} is not usable: ${why}`),
  );
}

/** Disks whose point in time is about to be fixed. */
export interface Prepared {
  /**
   * How `snapshot` fixes the point in time. `given`: not at all, because nobody writes to these disks. `together`:
   * one for all of them. `apart`: one for each, so the guest must be frozen or paused for them to be the same.
   */
  readonly pointInTime: 'given' | 'together' | 'apart';
  /**
   * Waits for what `snapshot` needs for itself alone, such as OpenNebula's lock of a volume group. Called when all
   * modules are prepared, while the guest still runs.
   * @returns a function that gives it back; it is called in every case, and never rejects
   */
  claim?(): Promise<() => Promise<void>>;
  /**
   * Fixes the point in time. Called once, while the guest is frozen or paused, so it MUST take milliseconds: one or a
   * few commands that were prepared before, and whose undo is in the journal.
   */
  snapshot(): Promise<readonly Snapshot[]>;
}

/** What OpenNebula's own `restore` of a TM driver does with what it has fetched from a backup. */
export interface RestoreFacts {
  /**
   * Whether it moves a disk into its place, whatever the disk contains. Others convert it without declaring its
   * format.
   */
  readonly movesDisks: boolean;
  /**
   * Whether it puts back the state of a vTPM: it unpacks what `ls` calls `tpm` into the VM's folder, and does not
   * treat it as a disk.
   */
  readonly unpacksTpm: boolean;
}

export interface StorageModule {
  /** The TM_MADs whose disks this module reads; undefined for one that no system datastore can have. */
  readonly tmMads: Readonly<Record<string, RestoreFacts | undefined>>;
  /** In the order of the configuration file. */
  readonly settings: Readonly<Record<string, Setting<unknown>>>;
  /** The kinds of undo that only this module records. */
  readonly undoKinds: readonly UndoKind<UndoDeps>[];
  /** Pure. @throws UnsupportedError when this disk cannot be dumped in this state of the VM. */
  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan;
  /**
   * Whether `prepare` can fix the point in time of disks to which a running guest writes. If not, only a backup job of
   * QEMU can.
   */
  readonly hasSnapshots: boolean;
  /**
   * Looks at disks to which a running guest writes, before a backup job fixes their point in time: makes every check
   * that the storage needs, and changes nothing.
   */
  running(plans: readonly DumpPlan[], run: Run): Promise<readonly RunningDisk[]>;
  /**
   * Prepares all given disks (of one VM) while the guest still runs: does everything slow, makes every check, and
   * records the undo of what `snapshot` will do. The modules' `prepare` are called one after another; then the guest
   * is frozen or paused, each `snapshot` is called, and the guest is thawed or resumed.
   */
  prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared>;
  /** Opens a disk that `snapshot` returned. Called once for each. */
  open(snapshot: Snapshot, run: Run): Promise<DiskReader>;
  /**
   * Called after all disks were read. Checks, as far as the storage can tell, that nobody has written to a disk that
   * was not read from a snapshot.
   * @throws FailedError when somebody has.
   */
  requireUnwritten?(snapshots: readonly Snapshot[], run: Run): Promise<void>;
}

/** A disk that will be dumped, and the module that serves it. */
export interface PlannedDump {
  readonly module: StorageModule;
  readonly plan: DumpPlan;
}

/** A disk of the VM, ready to be read. */
export interface OpenableDisk {
  /** DISK_ID. */
  readonly id: number;
  readonly layout: DiskLayout;
  /** Bytes; what the reader says must be the same. */
  readonly virtualSize: number;
  /** The caller closes the reader. */
  open(): Promise<DiskReader>;
}

/** How consistent a point in time is. */
export interface Consistency {
  readonly level: ConsistencyLevel;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly frozenMs: number;
}

/** One point in time of all disks of a VM that are dumped, as plain data. */
export interface PointInTime {
  readonly snapshots: readonly Snapshot[];
  readonly consistency: Consistency;
}

/** All disks of a VM at one point in time. */
export interface VmSnapshot {
  /** Ascending by id. */
  readonly disks: readonly OpenableDisk[];
  readonly consistency: Consistency;
  /** Call it after all disks were read. @throws FailedError when somebody has written to one meanwhile */
  requireUnwritten(): Promise<void>;
}

/** How messages name a disk. */
export function diskLabel(plan: DumpPlan): string {
  return `disk ${plan.disk.id} of VM ${plan.vm.id}`;
}
