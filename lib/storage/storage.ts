// The contract between the export and the storages. A module knows one kind of storage: how the
// point in time of its disks is fixed, and how a disk at that point in time is opened. Which module serves a
// disk is decided in registry.ts alone.
import type { ConsistencyLevel, DiskFormat, DiskLayout } from '../bundle/format/manifest.ts';
import type { DiskReader } from '../read/disk-reader.ts';
import type { Run } from '../run/run.ts';
import type { UndoKind, UndoDeps } from '../run/undo.ts';
import type { BlockNode } from '../tools/qemu-nbd.ts';
import type { CephAccess } from '../tools/rbd.ts';
import type { Disk, Vm } from '../vm/vm.ts';

/** What is to be dumped, as far as it is known without looking at the storage. */
export interface DumpPlan {
  readonly vm: Vm;
  readonly disk: Disk;
  readonly format: DiskFormat;
}

/** A disk whose point in time is fixed. What it takes to open it is known to its module. */
export interface Snapshot {
  readonly plan: DumpPlan;
  readonly layout: DiskLayout;
  readonly source: SnapshotSource;
}

/** How a disk at its point in time can be reached. `virtualSize` in bytes, also where it is no multiple of 512. */
export type SnapshotSource =
  /** An image (a file with its backing files) that nobody writes to. */
  | {
      readonly kind: 'image';
      readonly node: BlockNode;
      readonly virtualSize: number;
      /** What its files were like before they were read, as `fileStamps` has it, by their paths. */
      readonly stamps: Readonly<Record<string, string>>;
    }
  /** An export of an NBD server that runs already; `socket` is a path on the disks' machine. */
  | {
      readonly kind: 'nbd';
      readonly socket: string;
      readonly exportName: string;
      readonly virtualSize: number;
    }
  /** A logical volume that nobody writes to: a disk's own, or a snapshot, which can overflow. */
  | {
      readonly kind: 'volume';
      readonly group: string;
      readonly name: string;
      readonly snapshot?: 'thick' | 'thin';
      /** Of a disk's own volume: what had been written to it before it was read, as `writesTo` has it. */
      readonly writes?: string;
      readonly virtualSize: number;
    }
  /** An RBD image as it was at a snapshot; without one the image itself, to which nobody writes. */
  | {
      readonly kind: 'rbd';
      readonly access: CephAccess;
      /** `<pool>/<image>`. */
      readonly image: string;
      readonly snapshot?: string;
      readonly virtualSize: number;
    };

/** Disks whose point in time is about to be fixed. */
export interface Prepared {
  /**
   * How `snapshot` fixes the point in time: not at all, since nobody writes to these disks (`given`); it fixes
   * one for all of them (`together`), or one for each (`apart`), so that the guest must be held for them
   * to be the same.
   */
  readonly pointInTime: 'given' | 'together' | 'apart';
  /**
   * Waits for what `snapshot` must have for itself alone, such as OpenNebula's lock of a volume group. Called when all
   * modules are prepared, while the guest still runs. @returns gives it back; called in every case, and never rejects
   */
  claim?(): Promise<() => Promise<void>>;
  /**
   * Fixes the point in time. Called once, while the guest is held, so it MUST take milliseconds: one or a few
   * commands, of which everything is known and in the journal.
   */
  snapshot(): Promise<readonly Snapshot[]>;
}

export interface StorageModule {
  /** The kinds of undo that only this module records. */
  readonly undoKinds: readonly UndoKind<UndoDeps>[];
  /** Pure. @throws UnsupportedError when this disk cannot be dumped in this state of the VM. */
  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan;
  /**
   * Gets ready for all given disks (of one VM) while the guest still runs: everything slow, every check,
   * and the journal's entries for what `snapshot` is going to do. The modules' `prepare` are called one
   * after another, then the guest is held, then each `snapshot` is called, then the guest goes on.
   */
  prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared>;
  /** Opens a disk that `snapshot` returned. Called once for each. */
  open(snapshot: Snapshot, run: Run): Promise<DiskReader>;
  /**
   * Called when all disks were read, for what the storage itself can tell: that nobody has written to what
   * was read as it is, and not from a snapshot.
   * @throws FailedError when somebody has.
   */
  requireUnwritten?(snapshots: readonly Snapshot[], run: Run): Promise<void>;
}

/** A disk of the VM, ready to be read. */
export interface OpenableDisk {
  /** DISK_ID. */
  readonly id: number;
  readonly layout: DiskLayout;
  /** The reader is closed by whoever opened it. */
  open(): Promise<DiskReader>;
}

/** How consistent a point in time is. */
export interface Consistency {
  readonly level: ConsistencyLevel;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly frozenMs: number;
}

/** One point in time of all disks of a VM that are dumped: plain data. */
export interface PointInTime {
  readonly snapshots: readonly Snapshot[];
  readonly consistency: Consistency;
}

/** All disks of a VM at one point in time. */
export interface VmSnapshot {
  /** Ascending by id. */
  readonly disks: readonly OpenableDisk[];
  readonly consistency: Consistency;
  /** To be called when all disks were read. @throws FailedError when somebody has written to one meanwhile */
  requireUnwritten(): Promise<void>;
}

/** How messages name a disk. */
export function diskLabel(plan: DumpPlan): string {
  return `disk ${plan.disk.id} of VM ${plan.vm.id}`;
}
