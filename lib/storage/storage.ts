// The contract between the export and the storages. A module knows one kind of storage: how the
// instant of its disks is fixed, and how a disk at that instant is opened. Which module serves a
// disk is decided in modules.ts alone.
import type { ConsistencyLevel, DiskFormat } from '../bundle/manifest.ts';
import type { DiskReader } from '../read/disk-reader.ts';
import type { Run } from '../run/run.ts';
import type { BlockNode } from '../tools/qemu-nbd.ts';
import type { Disk, Vm } from '../vm/vm.ts';

/** What is to be dumped, as far as it is known without looking at the storage. */
export interface DumpPlan {
  readonly vm: Vm;
  readonly disk: Disk;
  readonly format: DiskFormat;
}

/** What the bundle has to know of a disk beside its bytes. */
export type DiskLayout =
  | { readonly format: 'raw' }
  /** `clusterSize` of the source in bytes. */
  | { readonly format: 'qcow2'; readonly clusterSize: number };

/** A disk whose instant is fixed. What it takes to open it is known to its module. */
export interface Snapshot {
  readonly plan: DumpPlan;
  readonly layout: DiskLayout;
  readonly source: SnapshotSource;
}

/** How a disk at its instant can be reached. */
export interface SnapshotSource {
  /** An image (a file with its backing files) that nobody writes to. */
  readonly kind: 'image';
  readonly node: BlockNode;
  /** Bytes; exact also where it is no multiple of 512. */
  readonly virtualSize: number;
}

export interface StorageModule {
  /** Pure. @throws UnsupportedError when this disk cannot be dumped in this state of the VM. */
  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan;
  /**
   * Fixes the instant for all given disks (of one VM). MUST check everything it can before it
   * changes anything, and journal the way back before each change.
   */
  snapshot(plans: readonly DumpPlan[], run: Run): Promise<readonly Snapshot[]>;
  /** Opens a disk that `snapshot` of this module returned. Called once for each. */
  open(snapshot: Snapshot, run: Run): Promise<DiskReader>;
}

/** A disk of the VM, ready to be read. */
export interface OpenableDisk {
  /** DISK_ID. */
  readonly id: number;
  readonly layout: DiskLayout;
  /** The reader is closed by whoever opened it. */
  open(): Promise<DiskReader>;
}

/** All disks of a VM at one instant. */
export interface VmSnapshot {
  /** Ascending by id. */
  readonly disks: readonly OpenableDisk[];
  readonly consistency: {
    readonly level: ConsistencyLevel;
    /** ISO 8601, UTC. */
    readonly at: string;
    readonly frozenMs: number;
  };
}

/** How messages name a disk. */
export function diskLabel(plan: DumpPlan): string {
  return `disk ${plan.disk.id} of VM ${plan.vm.id}`;
}
