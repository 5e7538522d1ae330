// Starts the stand-in and hands out what tests and the demo need to set it up and look inside.
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { makeDatastores } from './datastores.ts';
import { answerCall } from './dispatch.ts';
import { makeServer, sendHead } from './server.ts';
import { getVm, setVmState, vmState, vmXml } from './vm.ts';
import { World } from './world.ts';
import type { ProbedBackingFile, RecordedCall } from './world.ts';

export interface SandboxOptions {
  /** Stands for /var/lib/one: datastores and the auth file go here. */
  readonly dir: string;
  /** 0, the default, takes a free port. */
  readonly port?: number;
  /** SAFE_DIRS and RESTRICTED_DIRS of the datastores: folders separated by blanks. */
  readonly safeDirs?: string;
  readonly restrictedDirs?: string;
  /** How long images stay LOCKED besides the copy, and VMs in PROLOG, in milliseconds. Default 50. */
  readonly imageCopyMs?: number;
  readonly deployMs?: number;
}

export interface Sandbox {
  /** http://127.0.0.1:<port>/RPC2 */
  readonly endpoint: string;
  /** A file with oneadmin's `user:password`, mode 0600. */
  readonly authFile: string;
  readonly dir: string;
  readonly world: World;
  /** Every call, oldest first, without sessions. */
  readonly calls: readonly RecordedCall[];
  /** Files named as backing or data file by something that was probed. */
  readonly probedBackingFiles: readonly ProbedBackingFile[];
  imageCopyMs: number;
  /** Adds a user. @returns the path of a file with his `user:password`. */
  addUser(name: string): Promise<string>;
  setState(vmId: number, state: number, lcmState: number): void;
  powerOff(vmId: number): void;
  /** The VM's XML exactly as one.vm.info returns it. */
  vmXml(vmId: number): string;
  /** Waits until no copy, deployment or removal is under way. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a sandbox on loopback. The caller stops it, and removes `dir` when he likes. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const settings = {
    dir,
    safeDirs: options.safeDirs ?? '/var/tmp',
    restrictedDirs: options.restrictedDirs ?? '/',
  };
  const world = new World(settings, await makeDatastores(settings));
  world.imageCopyMs = options.imageCopyMs ?? 50;
  world.deployMs = options.deployMs ?? 50;

  const addUser = async (name: string): Promise<string> => {
    const password = randomBytes(12).toString('hex');
    world.users.add(name, password);
    const file = join(dir, '.one', `${name}_auth`);
    await mkdir(join(dir, '.one'), { recursive: true, mode: 0o700 });
    await writeFile(file, `${name}:${password}\n`, { mode: 0o600 });
    return file;
  };
  const authFile = await addUser('oneadmin');

  const server = makeServer(async (body, response) => {
    const { reply } = await answerCall(world, body);
    sendHead(response, 200, 'text/xml; charset=utf-8', Buffer.byteLength(reply));
    response.end(reply);
  });
  await new Promise<void>((done, fail) => {
    server.once('error', fail).listen(options.port ?? 0, '127.0.0.1', done);
  });
  const { port } = server.address() as AddressInfo;

  return {
    endpoint: `http://127.0.0.1:${port}/RPC2`,
    authFile,
    dir,
    world,
    calls: world.calls,
    probedBackingFiles: world.probedBackingFiles,
    get imageCopyMs() {
      return world.imageCopyMs;
    },
    set imageCopyMs(ms) {
      world.imageCopyMs = ms;
    },
    addUser,
    setState: (vmId, state, lcmState) => setVmState(getVm(world, vmId), [state, lcmState]),
    powerOff: (vmId) => setVmState(getVm(world, vmId), vmState.poweroff),
    vmXml: (vmId) => vmXml(getVm(world, vmId)),
    settle: () => world.settle(),
    async stop() {
      world.end();
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
      await world.settle();
    },
  };
}
