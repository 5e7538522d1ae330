// All connections of one run: one for each host, made when it is first needed, and anew when it was lost; more where one
// carries too few sessions.
// Their sockets lie in one private folder.
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { ConnectionError, errorMessage } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { stopProcesses } from './processes.ts';
import type { Runner, SshTarget } from './runner.ts';
import { openConnection, type SshConnection } from './ssh-connection.ts';
import { loginName } from './ssh-errors.ts';
import { sshRunner } from './ssh-runner.ts';
import { sessionSlots, type SessionSlots } from './ssh-slots.ts';
import type { Undo } from './undo.ts';

/** How long a host that could not be reached is not tried again: an undo has many steps. */
const refusedMs = 10_000;

export interface SshConnections {
  /** Connects now. @throws ConnectionError */
  open(target: SshTarget): Promise<void>;
  /** A runner for a host; `signal` ends what it runs. Nothing is connected yet. */
  runner(target: SshTarget, signal?: AbortSignal): Runner;
}

export interface SshConnectionsDeps {
  readonly log: Log;
  /** As in ssh_config(5); empty for what ssh's configuration says. */
  readonly ciphers?: string;
  /** Takes the ways back; called once each, before the first connection is made. */
  readonly record: (undo: Undo) => Promise<unknown>;
}

export function sshConnections({ log, ciphers = '', record }: SshConnectionsDeps): SshConnections {
  /** By login name, those of a host in the order of their lanes. */
  const known = new Map<string, Map<number, Promise<SshConnection>>>();
  const slots = new Map<string, SessionSlots>();
  /** By login name, the keepers of connections that were lost. */
  const lost = new Map<string, readonly string[]>();
  let folder: Promise<string> | undefined;
  let made = 0;

  async function make(target: SshTarget): Promise<SshConnection> {
    folder ??= makeFolder(record);
    const connection = await openConnection(target, `${await folder}/${++made}`, { ciphers, log });
    const name = loginName(target);
    for (const keeper of lost.get(name) ?? []) await endLost(connection, keeper);
    lost.delete(name);
    return connection;
  }

  /**
   * Ends an earlier connection at the host, where it may stand still, and with it what was run by it: QEMU ends no
   * backup job as long as someone seems to read it.
   */
  async function endLost(connection: SshConnection, keeper: string): Promise<void> {
    const { target } = connection;
    const alone = { connect: () => Promise.resolve(connection), slots: sessionSlots() };
    const runner = sshRunner({ target, ...alone, log });
    try {
      await stopProcesses(runner, 'sh', keeper);
    } catch (error) {
      // It ends by itself, later.
      log.debug(`${target.host}: ${errorMessage(error)}`);
    }
  }

  async function connect(target: SshTarget, lane = 0): Promise<SshConnection> {
    const name = loginName(target);
    const lanes = valueIn(known, name, () => new Map<number, Promise<SshConnection>>());
    const before = lanes.get(lane);
    if (before) {
      const connection = await before;
      const failure = connection.failure();
      if (!failure) return connection;
      // Somebody else may have noticed, too.
      if (lanes.get(lane) !== before) return connect(target, lane);
      log.warn(`${failure.message}; connecting again`);
      lost.set(name, [...(lost.get(name) ?? []), connection.keeper]);
    }
    const opening = make(target);
    lanes.set(lane, opening);
    opening.catch((error: unknown) => {
      const forget = (): void => void lanes.delete(lane);
      if (error instanceof ConnectionError) setTimeout(forget, refusedMs).unref();
      else forget();
    });
    return await opening;
  }

  return {
    async open(target) {
      await connect(target);
    },
    runner: (target, signal) =>
      sshRunner({
        target,
        connect: (lane) => connect(target, lane),
        slots: valueIn(slots, loginName(target), sessionSlots),
        ...{ log, signal },
      }),
  };
}

function valueIn<T>(map: Map<string, T>, name: string, make: () => T): T {
  const value = map.get(name) ?? make();
  map.set(name, value);
  return value;
}

/** Short, since a socket's path has 107 bytes at most, and ssh adds some for a moment. */
async function makeFolder(record: SshConnectionsDeps['record']): Promise<string> {
  const folder = `/tmp/onevmdump-${randomBytes(8).toString('hex')}`;
  await record({ kind: 'remove-folder', path: folder });
  await record({ kind: 'stop-process', program: 'ssh', argument: `${folder}/` });
  // Fails when the name is taken, whatever it is.
  await mkdir(folder, { mode: 0o700 });
  return folder;
}
