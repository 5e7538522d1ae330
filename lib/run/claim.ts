// One export of a VM at a time. Node has no flock, and a lock file that outlives its process has to be
// taken over without two takers: so nothing is ever taken over here. Each process that wants the VM
// writes a file of its own, whose name says who it is, and looks at those of the others only then. Of
// two at least one sees the other; the lower name goes on, the higher gives way, a holder beats all.
// Files of dead processes count for nothing, and may be removed by anyone: no name is used twice.
import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, FailedError, hasCode, OnevmdumpError } from '../report/errors.ts';
import { identify, isAlive, type ProcessIdentity } from './process-identity.ts';
import { makeStateFolder } from './state-folder.ts';

/** The VM is being exported by another process. */
export class BusyError extends FailedError {}

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
    const own = fileName(vmId, await identify(process.pid));
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

/** Removes the claims of dead processes, which count for nothing. @param vmId only those on this VM. */
export async function sweepClaims(stateFolder: string, vmId: number | undefined): Promise<void> {
  const folder = join(stateFolder, 'claims');
  const files = await readdir(folder).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  });
  const vms = new Set(files.map((file) => Number(/^\d+(?=\.)/.exec(file)?.[0] ?? NaN)));
  for (const vm of vms) {
    if (!Number.isNaN(vm) && (vmId === undefined || vm === vmId)) await liveClaims(folder, vm);
  }
}

interface LiveClaim {
  /** Without its ending. */
  readonly name: string;
  readonly pid: number;
  readonly held: boolean;
}

/** The claims of living processes; the files of dead ones are removed. */
async function liveClaims(folder: string, vmId: number): Promise<readonly LiveClaim[]> {
  const found = new Map<string, LiveClaim>();
  for (const file of await readdir(folder)) {
    const [, name = '', vm, pid, startTime = '', bootId = '', ending] =
      /^((\d+)\.(\d+)\.(\d+)\.([0-9a-f-]+))\.(wants|has)$/.exec(file) ?? [];
    if (Number(vm) !== vmId || name === '') continue;
    if (await isAlive({ pid: Number(pid), startTime, bootId })) {
      const held = ending === 'has' || found.get(name)?.held === true;
      found.set(name, { name, pid: Number(pid), held });
    } else {
      await rm(join(folder, file), { force: true });
    }
  }
  return [...found.values()];
}

function fileName(vmId: number, { pid, startTime, bootId }: ProcessIdentity): string {
  return `${vmId}.${pid}.${startTime}.${bootId}`;
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

async function busy(folder: string, vmId: number, { name, pid }: LiveClaim): Promise<BusyError> {
  const since = await stat(join(folder, `${name}.wants`)).then(
    ({ mtime }) => `, since ${mtime.toISOString()}`,
    () => '',
  );
  return new BusyError(`VM ${vmId} is being exported already, by process ${pid}${since}`);
}
