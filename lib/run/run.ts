// What one export or restore carries with it through all layers.
import type { Log } from '../report/log.ts';
import type { Progress } from '../report/progress.ts';
import type { Journal } from './journal.ts';
import type { Runner, SshTarget } from './runner.ts';

export interface Run {
  /** For the machine where the disks are. */
  readonly runner: Runner;
  /** For any machine; undefined is this one. */
  readonly runnerAt: (target: SshTarget | undefined) => Runner;
  readonly journal: Journal;
  readonly log: Log;
  readonly progress: Progress;
  /** Aborted by SIGINT, SIGTERM and SIGHUP; its reason is an InterruptedError. */
  readonly signal: AbortSignal;
  /** OpenNebula's DATASTORE_LOCATION on the machine where the disks are. */
  readonly datastoreLocation: string;
  /** Folders outside of it under which backing files may lie too. */
  readonly allowedBackingFolders: readonly string[];
  /** For `virsh --connect`; empty for virsh's own default. */
  readonly libvirtUri: string;
  /** The room that must be free for what guests overwrite of disks that are files while they are read. */
  readonly scratchRoom: { readonly percent: number; readonly minMb: number };
  /** The room in which LVM keeps what a guest overwrites of a disk while it is read. */
  readonly lvmSnapshot: { readonly percent: number; readonly minMb: number };
}
