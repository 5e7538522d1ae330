// What an export or restore passes to all of its layers.
import type { Log } from '../report/log.ts';
import type { Progress } from '../report/progress.ts';
import type { Journal } from './journal.ts';
import type { Runner, SshTarget } from './runner.ts';

/**
 * Reads the values of the settings that a part of the tool declares in its own table (`SettingTable` of
 * lib/config/setting.ts).
 */
export type SettingsReader = <Values>(table: {
  readonly [K in keyof Values]: {
    readonly key: string;
    readonly default: string;
    readonly parse: (text: string) => Values[K];
  };
}) => Values;

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
  /** For `virsh --connect`; empty for virsh's own default. */
  readonly libvirtUri: string;
  /** The values of the settings that a storage declares in its own table. */
  readonly settings: SettingsReader;
}
