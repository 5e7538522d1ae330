// All connections of one run: one for each host, made when it is first needed, and again when it was lost; more where one
// carries too few sessions. Their sockets are in one private folder.
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { ConnectionError, errorMessage } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { ownPrefix } from './own-prefix.ts';
import { stopProcesses } from './processes.ts';
import type { Runner, SshTarget } from './runner.ts';
import { openConnection, type SshConnection } from './ssh-connection.ts';
import { loginName } from './ssh-errors.ts';
import { SshRunner } from './ssh-runner.ts';
import { SessionSlots } from './ssh-slots.ts';
import { removeFolder, stopProcess } from './undo-kinds.ts';
import type { Undo } from './undo.ts';

/** How long a host that could not be reached is not tried again: an undo has many steps. */
const refusedMs = 10_000;

export interface SshConnectionsDeps {
  readonly log: Log;
  /** As in ssh_config(5); empty for what ssh's configuration says. */
  readonly ciphers?: string;
  /** Records the undos; called once for each, before the first connection is made. */
  readonly record: (undo: Undo) => Promise<unknown>;
}

export class SshConnections {
  readonly #deps: SshConnectionsDeps;
  /** By login name, those of a host in the order of their lanes. */
  readonly #known = new Map<string, Map<number, Promise<SshConnection>>>();
  /** By login name. */
  readonly #slots = new Map<string, SessionSlots>();
  /** By login name, the keepers of connections that were lost. */
  readonly #lostKeepers = new Map<string, readonly string[]>();
  #folder: Promise<string> | undefined;
  #made = 0;

  constructor(deps: SshConnectionsDeps) {
    this.#deps = deps;
  }

  /** Connects now. @throws ConnectionError */
  async open(target: SshTarget): Promise<void> {
    await this.#connect(target);
  }

  /** A runner for a host; `signal` ends what it runs. Nothing is connected yet. */
  runner(target: SshTarget, signal?: AbortSignal): Runner {
    return new SshRunner({
      target,
      connect: (lane) => this.#connect(target, lane),
      slots: valueIn(this.#slots, loginName(target), () => new SessionSlots()),
      ...{ log: this.#deps.log, signal },
    });
  }

  async #connect(target: SshTarget, lane = 0): Promise<SshConnection> {
    const name = loginName(target);
    const lanes = valueIn(this.#known, name, () => new Map<number, Promise<SshConnection>>());
    const before = lanes.get(lane);
    if (before) {
      const connection = await before;
      const failure = connection.failure();
      if (!failure) return connection;
      // Another caller may have noticed it first.
      if (lanes.get(lane) !== before) return this.#connect(target, lane);
      this.#deps.log.warn(`${failure.message}; connecting again`);
      this.#lostKeepers.set(name, [...(this.#lostKeepers.get(name) ?? []), connection.keeper]);
    }
    const opening = this.#make(target);
    lanes.set(lane, opening);
    opening.catch((error: unknown) => {
      const forget = (): void => void lanes.delete(lane);
      if (error instanceof ConnectionError) setTimeout(forget, refusedMs).unref();
      else forget();
    });
    return await opening;
  }

  async #make(target: SshTarget): Promise<SshConnection> {
    const { ciphers = '', log, record } = this.#deps;
    this.#folder ??= makeFolder(record);
    const control = `${await this.#folder}/${++this.#made}`;
    const connection = await openConnection(target, control, { ciphers, log });
    const name = loginName(target);
    for (const keeper of this.#lostKeepers.get(name) ?? []) await endLost(connection, keeper, log);
    this.#lostKeepers.delete(name);
    return connection;
  }
}

/**
 * Ends an earlier connection at the host, where it may still be open, and with it what was run through it: QEMU ends no
 * backup job as long as someone seems to read it.
 */
async function endLost(connection: SshConnection, keeper: string, log: Log): Promise<void> {
  const { target } = connection;
  const connect = () => Promise.resolve(connection);
  const runner = new SshRunner({ target, connect, slots: new SessionSlots(), log });
  try {
    await stopProcesses(runner, 'sh', keeper);
  } catch (error) {
    // It ends by itself, later.
    log.debug(`${target.host}: ${errorMessage(error)}`);
  }
}

function valueIn<T>(map: Map<string, T>, name: string, make: () => T): T {
  const value = map.get(name) ?? make();
  map.set(name, value);
  return value;
}

/** Short, since a socket's path has 107 bytes at most, and ssh adds some for a moment. */
async function makeFolder(record: SshConnectionsDeps['record']): Promise<string> {
  const folder = `/tmp/${ownPrefix}${randomBytes(8).toString('hex')}`;
  await record(removeFolder.undo({ path: folder }));
  await record(stopProcess.undo({ program: 'ssh', argument: `${folder}/` }));
  // Fails when the name is taken, whatever it is.
  await mkdir(folder, { mode: 0o700 });
  return folder;
}
