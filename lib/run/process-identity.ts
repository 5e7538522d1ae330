// Identifies a process uniquely, even where machines or containers share a state folder: by its pid, its start time
// (clock ticks since boot, field 22 of /proc/<pid>/stat, see proc(5)), and the place in which the pid is valid.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { hasCode } from '../report/errors.ts';

/** Where a pid is valid: one boot of one machine, and one PID namespace on it. */
export interface ProcessPlace {
  readonly bootId: string;
  /** Of machine-id(5); empty where there is none, as in many containers. */
  readonly machineId: string;
  readonly host: string;
  /** The inode of the PID namespace; `+<n>` where /proc is that of its n-th parent, and pids with it. */
  readonly pidNamespace: string;
}

export interface ProcessIdentity extends ProcessPlace {
  readonly pid: number;
  readonly startTime: string;
}

/** `elsewhere`: its pid is not valid here, so whether it runs is unknown. */
export type ProcessState = 'running' | 'ended' | 'elsewhere';

let own: Promise<ProcessPlace> | undefined;

/** The place of this process. */
export function ownPlace(): Promise<ProcessPlace> {
  return (own ??= findOwnPlace());
}

async function findOwnPlace(): Promise<ProcessPlace> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  // Kernels without PID namespaces do not have this link.
  const link = await readlink('/proc/self/ns/pid').catch(() => '');
  const inode = /\d+/.exec(link)?.[0] ?? '0';
  // The pids of this process, from the namespace of /proc down to its own namespace: proc_pid_status(5).
  const status = await readFile('/proc/self/status', 'utf8');
  const levels = /^NSpid:((?:\s+\d+)+)$/m.exec(status)?.[1]?.trim().split(/\s+/).length ?? 1;
  return {
    bootId,
    machineId: await machineId(),
    // Part of a file's name (session/export-lock.ts) and of messages.
    host: hostname().replaceAll(/[^A-Za-z0-9.-]/g, '_'),
    pidNamespace: levels > 1 ? `${inode}+${levels - 1}` : inode,
  };
}

async function machineId(): Promise<string> {
  for (const path of ['/etc/machine-id', '/var/lib/dbus/machine-id']) {
    const text = await readFile(path, 'utf8').catch(() => '');
    // It may be `uninitialized`, in images of containers and machines.
    if (/^[0-9a-f]{32}\s*$/.test(text) && !/^0+\s*$/.test(text)) return text.trim();
  }
  return '';
}

/** Returns start time and state letter; undefined when there is no such process. */
async function stat(
  pid: number | 'self',
): Promise<{ pid: number; startTime: string; state: string } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may itself contain blanks and parentheses.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { pid: parseInt(text, 10), state: fields[0] ?? '', startTime: fields[19] ?? '' };
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined;
    throw error;
  }
}

/** Returns the identity of this process, or of another one that runs. @throws Error when no process has this pid. */
export async function identify(pid: number | 'self'): Promise<ProcessIdentity> {
  const found = await stat(pid);
  if (!found) throw new Error(`no process ${pid}`);
  return { pid: found.pid, startTime: found.startTime, ...(await ownPlace()) };
}

/** Whether exactly this process still runs (a zombie does not), as far as that is known here. */
export async function stateOf(identity: ProcessIdentity): Promise<ProcessState> {
  const here = await ownPlace();
  if (!isSameMachine(identity, here)) return 'elsewhere';
  // It ran before the machine was rebooted.
  if (identity.bootId !== here.bootId) return 'ended';
  if (identity.pidNamespace !== here.pidNamespace) return 'elsewhere';
  const found = await stat(identity.pid);
  const runs = found?.startTime === identity.startTime && !['Z', 'X'].includes(found.state);
  return runs ? 'running' : 'ended';
}

/**
 * Whether two places are on the same machine, perhaps before and after a reboot. Copies of a machine may have the
 * same machine-id, and containers that of their image, so after a reboot the host name must also be the same.
 */
function isSameMachine(place: ProcessPlace, other: ProcessPlace): boolean {
  if (place.machineId !== other.machineId) return false;
  if (place.bootId === other.bootId) return true;
  return place.machineId !== '' && place.host === other.host;
}

/** Whether a place is on this machine since its last boot, in whatever PID namespace. */
export async function isBesideUs(place: ProcessPlace): Promise<boolean> {
  const here = await ownPlace();
  return isSameMachine(place, here) && place.bootId === here.bootId;
}

/** The name of a place: the host, its machine-id (or boot id, if it has none), the PID namespace. */
export function placeName({ host, machineId: id, bootId, pidNamespace }: ProcessPlace): string {
  return `${host}/${id === '' ? bootId : id}/${pidNamespace}`;
}

/** Whether a place has this name, or a name that continues it. */
export function isPlaceIn(place: ProcessPlace, name: string): boolean {
  return `${placeName(place)}/`.startsWith(`${name}/`);
}

/**
 * Returns the pid that a process in a PID namespace below ours has in ours; undefined when it is not visible here,
 * because it has ended or because its namespace is not below ours.
 */
export async function seenFromAbove(identity: ProcessIdentity): Promise<number | undefined> {
  if (!(await isBesideUs(identity))) return undefined;
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    const [, below] = /^NSpid:(?:\s+\d+)+\s+(\d+)$/m.exec(status) ?? [];
    if (Number(below) !== identity.pid) continue;
    const found = await stat(Number(name)).catch(() => undefined);
    if (found?.startTime === identity.startTime && !['Z', 'X'].includes(found.state))
      return found.pid;
  }
  return undefined;
}
