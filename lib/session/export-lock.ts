// One export of a VM at a time. Node has no flock, and a lock file that outlives its process has to be
// taken over without two takers: so nothing is ever taken over here. Each process that wants the VM
// writes a file of its own, whose name says who it is, and looks at those of the others only then. Of
// two at least one sees the other; the lower name goes on, the higher gives way, a holder beats all.
// Files of dead processes count for nothing, and may be removed by anyone: no name is used twice. Those of
// processes on other machines, or in other PID namespaces, count: nobody here knows whether they are dead.
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

/** The VM is being exported, or was when its machine or container ended: only there it can be seen. */
export class BusyElsewhereError extends BusyError {}

export interface Claim {
  /** Lets others have the VM. */
  release(): Promise<void>;
}

const pollMs = 20;
/** Longer than any process that gives way takes; one that was stopped half way would block us for ever. */
const patienceMs = 10_000;

/**
 * Claims a VM for this process, among all that use this state folder.
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

/** @throws BusyError when it is, or will be, another's turn. */
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

/** The claim of a process of which nobody here knows whether it runs. */
export interface ElsewhereClaim {
  readonly vmId: number;
  readonly process: ProcessIdentity;
}

/**
 * Removes the claims of dead processes, which count for nothing.
 * @param vmId only those on this VM.
 * @param gone the name of a place (`placeName`) whose processes are dead, as a person says
 * @returns the claims of processes elsewhere, which stay
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
  /** Without its ending. */
  readonly name: string;
  readonly process: ProcessIdentity;
  readonly held: boolean;
  /** Its process cannot be seen here. */
  readonly elsewhere: boolean;
}

const claimFile =
  /^((\d+)\.(\d+)\.(\d+)\.([0-9a-f-]+)\.([0-9a-f]*)\.([0-9+]+)\.(.*))\.(wants|has)$/;

/** The claims of processes that are not known to be dead; the files of dead ones are removed. */
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

/** Whether a person says that the place of a process is gone, and the process is not seen to run. */
async function isGone(process: ProcessIdentity, gone: string | undefined): Promise<boolean> {
  if (gone === undefined || !isPlaceIn(process, gone)) return false;
  return (await seenFromAbove(process)) === undefined;
}

function fileName(vmId: number, process: ProcessIdentity): string {
  const { pid, startTime, bootId, machineId, pidNamespace, host } = process;
  return [vmId, pid, startTime, bootId, machineId, pidNamespace, host].join('.');
}

/** @returns false when the file is there already. */
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
