// Starts the stand-in and hands out what tests and the demo need to set it up and look inside.
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import type { BackupDriver } from './backup-driver.ts';
import { backupDatastore, datastoreXml, makeDatastores } from './datastores.ts';
import { answerCall } from './dispatch.ts';
import { vmFolder } from './disk-files.ts';
import { makeImage, makeVm } from './make.ts';
import type { NewImage, NewVm } from './make.ts';
import { newNetwork } from './networks.ts';
import type { NewNetwork } from './networks.ts';
import type { Spoiling } from './mischief.ts';
import { sendSpoilt } from './mischief.ts';
import { prettyXml } from './pretty-xml.ts';
import type { Quotas } from './quotas.ts';
import { Release } from './release.ts';
import { makeServer, sendHead } from './server.ts';
import { vmFromXml } from './vm-import.ts';
import { getVm, setVmState, vmState, vmXml } from './vm.ts';
import { World } from './world.ts';
import type { ProbedBackingFile, RecordedCall } from './world.ts';

export interface SandboxOptions {
  /** Stands for /var/lib/one: datastores and the auth files go here. */
  readonly dir: string;
  /** 0, the default, takes a free port. */
  readonly port?: number;
  /** The release of OpenNebula whose rules hold, such as 7.4.0. Default: that of the recorded calls. */
  readonly version?: string;
  /** SAFE_DIRS and RESTRICTED_DIRS of the datastores: folders separated by blanks. */
  readonly safeDirs?: string;
  readonly restrictedDirs?: string;
  /** How long images stay LOCKED besides the copy, and VMs in their passing states. Default 50 ms. */
  readonly imageCopyMs?: number;
  readonly deployMs?: number;
  /** oneadmin's password; random without it. */
  readonly password?: string;
}

export interface Sandbox {
  /** http://127.0.0.1:<port>/RPC2 */
  readonly endpoint: string;
  /** A file with oneadmin's `user:password`, mode 0600. */
  readonly authFile: string;
  readonly dir: string;
  /** Users, images, templates, VMs as they are, to look at and to bend. */
  readonly world: World;
  /** Every call, oldest first, without sessions. */
  readonly calls: readonly RecordedCall[];
  /** Files named as backing or data file by something that was probed. */
  readonly probedBackingFiles: readonly ProbedBackingFile[];
  /** Image sources that `file` took for packed, so that OpenNebula would have unpacked them. */
  readonly unpacked: readonly { readonly path: string; readonly type: string }[];
  imageCopyMs: number;
  deployMs: number;
  /** Adds a user of the group `users`. @returns the path of a file with his `user:password`. */
  addUser(name: string, password?: string): Promise<string>;
  /** Registers an image with a copy of `file`, READY at once and wherever the file lies. @returns its id. */
  makeImage(image: NewImage): Promise<number>;
  /** Adds a virtual network of oneadmin that everybody may use. @returns its id. */
  addNetwork(network: NewNetwork): number;
  /** Instantiates a template text and deploys it: the disk files exist afterwards. @returns the VM's id. */
  makeVm(vm: NewVm): Promise<number>;
  /** Adds a VM from its XML as OpenNebula shows it, under the id in it. Makes no files. */
  addVm(xml: string): number;
  setState(vmId: number, state: number, lcmState: number): void;
  powerOff(vmId: number): void;
  /** The VM's XML as one.vm.info returns it: one line. */
  vmXml(vmId: number): string;
  /** The same as `onevm show -x` prints it and hooks get it: two blanks a level. */
  prettyVmXml(vmId: number): string;
  /** The VM's folder on its system datastore. */
  vmFolder(vmId: number): string;
  /**
   * Adds a backup datastore, whose images come from this driver. Its folder is made.
   * @returns its XML as drivers get it
   */
  addBackupDatastore(
    id: number,
    driver: BackupDriver,
    attributes?: Readonly<Record<string, string>>,
  ): Promise<string>;
  /** Limits what a user may have from now on. */
  setQuotas(user: string, quotas: Quotas): void;
  /** Lets services act as any user, with this password of `serveradmin`. */
  setServerPassword(password: string): void;
  /** The next call of the method fails with oned's code and text. */
  failNext(method: string, code: number, text: string, objectId?: number): void;
  /** The next answer to the method is spoilt; the call itself is carried out. */
  spoilNext(method: string, how: Spoiling): void;
  /** Every answer to the method is late; 0 ends that. */
  delay(method: string, ms: number): void;
  /** Waits until no copy, deployment or removal is under way. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

async function newWorld(options: SandboxOptions, dir: string): Promise<World> {
  await mkdir(dir, { recursive: true });
  const settings = {
    dir,
    release: new Release(options.version),
    safeDirs: options.safeDirs ?? '/var/tmp',
    restrictedDirs: options.restrictedDirs ?? '/',
  };
  const world = new World(settings, await makeDatastores(settings));
  world.imageCopyMs = options.imageCopyMs ?? 50;
  world.deployMs = options.deployMs ?? 50;
  return world;
}

/** Starts a sandbox on loopback. The caller stops it, and removes `dir` when he likes. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const dir = resolve(options.dir);
  const world = await newWorld(options, dir);

  const addUser = async (
    name: string,
    password = randomBytes(12).toString('hex'),
  ): Promise<string> => {
    world.users.add(name, password);
    const file = join(dir, '.one', `${name}_auth`);
    await mkdir(join(dir, '.one'), { recursive: true, mode: 0o700 });
    await writeFile(file, `${name}:${password}\n`, { mode: 0o600 });
    return file;
  };
  const authFile = await addUser('oneadmin', options.password);

  const server = makeServer(async (body, response) => {
    if (world.died !== undefined) throw new Error(`oned has died: ${world.died}`);
    const { method, reply } = await answerCall(world, body);
    const how = world.mischief.spoiling(method);
    if (how) return sendSpoilt(response, how, reply);
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
    unpacked: world.unpacked,
    get imageCopyMs() {
      return world.imageCopyMs;
    },
    set imageCopyMs(ms) {
      world.imageCopyMs = ms;
    },
    get deployMs() {
      return world.deployMs;
    },
    set deployMs(ms) {
      world.deployMs = ms;
    },
    addUser,
    makeImage: (image) => makeImage(world, image),
    addNetwork(network) {
      const id = Math.max(...world.networks.keys()) + 1;
      world.networks.set(id, newNetwork(id, network));
      return id;
    },
    makeVm: (vm) => makeVm(world, vm),
    addVm(xml) {
      const vm = vmFromXml(xml);
      world.reserveId('vm', vm.id);
      world.vms.set(vm.id, vm);
      return vm.id;
    },
    setState: (vmId, state, lcmState) => setVmState(getVm(world, vmId), [state, lcmState]),
    powerOff: (vmId) => setVmState(getVm(world, vmId), vmState.poweroff),
    vmXml: (vmId) => vmXml(getVm(world, vmId)),
    prettyVmXml: (vmId) => prettyXml(vmXml(getVm(world, vmId))),
    vmFolder: (vmId) => vmFolder(world, getVm(world, vmId).history.at(-1)?.datastoreId ?? -1, vmId),
    async addBackupDatastore(id, driver, attributes = {}) {
      const datastore = backupDatastore(world.settings, id, attributes);
      world.datastores.set(id, datastore);
      world.backupDriver = driver;
      await mkdir(datastore.basePath, { recursive: true });
      return datastoreXml(datastore, []);
    },
    setQuotas(name, quotas) {
      const user = world.users.byName(name);
      if (!user) throw new Error(`the sandbox has no user ${name}`);
      user.quotas = quotas;
    },
    setServerPassword(password) {
      world.users.serverPassword = password;
    },
    failNext: (method, code, text, objectId) =>
      world.mischief.failNext(method, code, text, objectId),
    spoilNext: (method, how) => world.mischief.spoilNext(method, how),
    delay: (method, ms) => world.mischief.delay(method, ms),
    settle: () => world.settle(),
    async stop() {
      world.end();
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
      await world.settle();
    },
  };
}
