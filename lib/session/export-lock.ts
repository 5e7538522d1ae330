// The export lock: one export of a VM at a time. Node.js has no flock. A lock file that outlives its process would have
// to be taken over, and two processes could do so at once; so no file is ever taken over. Each process that wants the VM
// first writes its own file, whose name identifies the process, and only then looks at the files of the others. So of
// two processes, at least one sees the other. A process that already has the VM always wins. Otherwise the process with
// the lower file name wins, and the other one gives way. Files of dead processes are ignored, and any process may remove
// them, because no name is used twice. Files of processes on other machines or in other PID namespaces are not ignored,
// because this process cannot know whether those are dead.
import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, FailedError, hasCode, OnevmdumpError } from '../report/errors.ts';
import {
  identify,
  isPlaceIn,
  placeName,
  seenFromAbove,
  stateOf,
  type ProcessIdentity,
} from '../run/process-identity.ts';
import { makeStateFolder } from '../run/state-folder.ts';

/** The VM is being exported by another process. */
export class BusyError extends FailedError {
  constructor(message: string) {
    super(message, { code: 'vm-busy' });
  }
}

/**
 * A process on another machine or in another container is exporting the VM, or was doing so when that machine or
 * container ended. Which of the two can only be seen there.
 */
export class BusyElsewhereError extends BusyError {}

export interface Claim {
  /** Lets other processes export the VM. */
  release(): Promise<void>;
}

const pollMs = 20;
/** Longer than a process takes to give way. A process that was stopped half way would otherwise block us for ever. */
const patienceMs = 10_000;

/**
 * Takes the export lock of a VM for this process. It excludes all processes that use this state folder.
 * @throws BusyError when another process has it, FailedError when the folder cannot be written
 */
export async function claimVm(
  stateFolder: string,
  vmId: number,
  signal?: AbortSignal,
): Promise<Claim> {
  try {
    const folder = await makeStateFolder(stateFolder, 'claims');
    const own = fileName(vmId, await identify('self'));
    const [wants, has] = [join(folder, `${own}.wants`), join(folder, `${own}.has`)];
    const release = async (): Promise<void> => {
      await rm(has, { force: true });
      await rm(wants, { force: true });
    };
    if (!(await makeEmpty(wants))) throw new BusyError(`VM ${vmId} is being exported already`);
    try {
      await waitForTurn(folder, vmId, own, signal);
      await makeEmpty(has);
    } catch (error) {
      await release();
      throw error;
    }
    return { release };
  } catch (error) {
    if (error instanceof OnevmdumpError) throw error;
    throw new FailedError(
      `cannot make sure that VM ${vmId} is exported once at a time, in ${stateFolder}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
}

/** @throws BusyError when another process has the VM, or will have it before this one */
async function waitForTurn(
  folder: string,
  vmId: number,
  own: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    signal?.throwIfAborted();
    const others = (await liveClaims(folder, vmId)).filter(({ name }) => name !== own);
    const [first] = others;
    if (!first) return;
    const winner = others.find(({ name, held }) => held || name < own);
    if (winner !== undefined || Date.now() > deadline)
      throw await busy(folder, vmId, winner ?? first);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** The claim of a process elsewhere: this process cannot know whether that one still runs. */
export interface ElsewhereClaim {
  readonly vmId: number;
  readonly process: ProcessIdentity;
}

/**
 * Removes the claims of dead processes, which would be ignored anyway.
 * @param vmId only the claims on this VM.
 * @param gone the name (`placeName`) of a machine or container: a person says that it is gone, so its processes are dead
 * @returns the claims of processes elsewhere, which are kept
 */
export async function sweepClaims(
  stateFolder: string,
  vmId: number | undefined,
  gone?: string,
): Promise<readonly ElsewhereClaim[]> {
  const folder = join(stateFolder, 'claims');
  const files = await readdir(folder).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  });
  const vms = new Set(files.map((file) => Number(/^\d+(?=\.)/.exec(file)?.[0] ?? NaN)));
  const elsewhere: ElsewhereClaim[] = [];
  for (const vm of vms) {
    if (Number.isNaN(vm) || (vmId !== undefined && vm !== vmId)) continue;
    for (const claim of await liveClaims(folder, vm, gone)) {
      if (claim.elsewhere) elsewhere.push({ vmId: vm, process: claim.process });
    }
  }
  return elsewhere;
}

interface LiveClaim {
  /** The name of its file, without the ending. */
  readonly name: string;
  readonly process: ProcessIdentity;
  readonly held: boolean;
  /** Its process cannot be seen from here. */
  readonly elsewhere: boolean;
}

const claimFile =
  /^((\d+)\.(\d+)\.(\d+)\.([0-9a-f-]+)\.([0-9a-f]*)\.([0-9+]+)\.(.*))\.(wants|has)$/;

/** Returns the claims of processes that are not known to be dead, and removes the files of dead ones. */
async function liveClaims(
  folder: string,
  vmId: number,
  gone?: string,
): Promise<readonly LiveClaim[]> {
  const found = new Map<string, LiveClaim>();
  for (const file of await readdir(folder)) {
    const [, name = '', vm, pid, startTime = '', bootId = '', machineId = '', ns = '', host = ''] =
      claimFile.exec(file) ?? [];
    if (Number(vm) !== vmId || name === '') continue;
    const process = { pid: Number(pid), startTime, bootId, machineId, pidNamespace: ns, host };
    const state = await stateOf(process);
    if (state === 'ended' || (state === 'elsewhere' && (await isGone(process, gone)))) {
      await rm(join(folder, file), { force: true });
    } else {
      const held = file.endsWith('.has') || found.get(name)?.held === true;
      found.set(name, { name, process, held, elsewhere: state === 'elsewhere' });
    }
  }
  return [...found.values()];
}

/** Whether a person says that the machine or container of a process is gone, and the process is not seen running. */
async function isGone(process: ProcessIdentity, gone: string | undefined): Promise<boolean> {
  if (gone === undefined || !isPlaceIn(process, gone)) return false;
  return (await seenFromAbove(process)) === undefined;
}

function fileName(vmId: number, process: ProcessIdentity): string {
  const { pid, startTime, bootId, machineId, pidNamespace, host } = process;
  return [vmId, pid, startTime, bootId, machineId, pidNamespace, host].join('.');
}

/** @returns false when the file exists already. */
async function makeEmpty(path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx', 0o600)).close();
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

async function busy(
  folder: string,
  vmId: number,
  { name, process, elsewhere }: LiveClaim,
): Promise<BusyError> {
  const since = await stat(join(folder, `${name}.wants`)).then(
    ({ mtime }) => `, since ${mtime.toISOString()}`,
    () => '',
  );
  const by = `VM ${vmId} is being exported already, by process ${process.pid}`;
  if (!elsewhere) return new BusyError(`${by}${since}`);
  const place = placeName(process);
  return new BusyElsewhereError(
    `${by} on ${place}${since}; if that machine or container is gone for good: onevmdump cleanup --gone ${place}`,
  );
}
