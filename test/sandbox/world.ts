// Everything the stand-in knows: users, objects, what was called, and what it was told to do wrong.
import { setTimeout as sleep } from 'node:timers/promises';
import type { BackupDriver } from './backup-driver.ts';
import type { Datastore } from './datastores.ts';
import type { Image } from './images.ts';
import { Mischief } from './mischief.ts';
import { recordedNetwork } from './networks.ts';
import type { Network } from './networks.ts';
import type { Params } from './protocol.ts';
import type { Release } from './release.ts';
import type { VmTemplate } from './templates.ts';
import { Users } from './users.ts';
import type { User } from './users.ts';
import type { Vm } from './vm.ts';

export interface WorldSettings {
  /** The folder that stands for /var/lib/one. */
  readonly dir: string;
  readonly restrictedDirs: string;
  readonly safeDirs: string;
  /** The release of OpenNebula whose rules hold. */
  readonly release: Release;
}

/** A call as it came in, without its session. */
export interface RecordedCall {
  readonly method: string;
  readonly user: string | undefined;
  readonly args: readonly (string | number | boolean | undefined)[];
}

/** A file that something probed by `qemu-img info` named as its backing or data file. */
export interface ProbedBackingFile {
  readonly probed: string;
  readonly backing: string;
}

export class World {
  readonly settings: WorldSettings;
  readonly users = new Users();
  readonly datastores: Map<number, Datastore>;
  readonly images = new Map<number, Image>();
  readonly templates = new Map<number, VmTemplate>();
  readonly vms = new Map<number, Vm>();
  readonly networks = new Map<number, Network>([[0, recordedNetwork()]]);
  readonly calls: RecordedCall[] = [];
  readonly probedBackingFiles: ProbedBackingFile[] = [];
  /** Image sources that were decompressed, or refused as archives, because `file` took them for such. */
  readonly unpacked: { readonly path: string; readonly type: string }[] = [];
  readonly mischief = new Mischief();
  /** How long an image stays LOCKED besides the copy itself, in milliseconds. */
  imageCopyMs = 50;
  /** How long a VM stays in PROLOG besides the copies, in milliseconds. */
  deployMs = 50;
  /** How long a VM stays PENDING until it has a host, in milliseconds. */
  schedulerMs = 0;
  /** Why oned is dead; undefined while it lives. */
  died: string | undefined;
  /** The driver of the backup datastores, if there are any. */
  backupDriver: BackupDriver | undefined;
  #lastIds = new Map<string, number>();
  #background = new Set<Promise<void>>();
  readonly #end = new AbortController();

  constructor(settings: WorldSettings, datastores: Map<number, Datastore>) {
    this.settings = settings;
    this.datastores = datastores;
  }

  /** The next id of a pool; ids are never used twice. */
  nextId(pool: 'image' | 'template' | 'vm'): number {
    const id = (this.#lastIds.get(pool) ?? -1) + 1;
    this.#lastIds.set(pool, id);
    return id;
  }

  /** Makes later ids of the pool greater than `id`. */
  reserveId(pool: 'image' | 'template' | 'vm', id: number): void {
    this.#lastIds.set(pool, Math.max(id, this.#lastIds.get(pool) ?? -1));
  }

  /** Runs what goes on after the reply; `settle` waits for it. `work` must not fail. */
  background(work: () => Promise<void>): void {
    const running = work().finally(() => this.#background.delete(running));
    this.#background.add(running);
  }

  /** Waits until no copy, deployment or removal is under way. */
  async settle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Waits so many milliseconds, or until the sandbox ends. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#end.signal }).catch(() => undefined);
  }

  /** Cuts all waiting short. */
  end(): void {
    this.#end.abort();
  }

  get ending(): AbortSignal {
    return this.#end.signal;
  }
}

/** A call that passed authentication. */
export interface Call {
  readonly world: World;
  readonly user: User;
  readonly params: Params;
  readonly requestId: number;
}

export type Handler = (call: Call) => string | number | Promise<string | number>;
export type MethodTable = Readonly<Record<string, Handler>>;

export function now(): number {
  return Math.floor(Date.now() / 1000);
}
