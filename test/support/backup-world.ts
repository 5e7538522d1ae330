// A world with a backup datastore: the sandbox, a VM whose disks the stock `prebackup` has staged, and the
// built actions, called as oned calls them.
import { slowCompressor } from './slow-compressor.ts';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runToEnd, sh, type Ended } from './shell.ts';
import { makeWorld, type World } from './world.ts';

export const driver = new URL('../../dist/drivers/datastore', import.meta.url).pathname;
export const datastoreId = 103;

export interface BackupWorld extends World {
  /** `<BASE_PATH>` of the backup datastore. */
  readonly basePath: string;
  /** The DATASTORE as drivers get it. */
  readonly datastore: string;
  readonly driverEnv: NodeJS.ProcessEnv;
  /** Runs an action the way the VMM driver does: arguments and plain XML. */
  action(name: string, args: readonly string[], input?: string, running?: Running): Promise<Ended>;
  /** Runs an action the way the datastore driver does: a request id, and the data in base64 on stdin. */
  request(name: string, inside: string): Promise<Ended>;
  /** A powered-off VM with one disk of random data and holes. */
  makeVm(options: VmWish): Promise<StagedVm>;
  /** An environment in which the compressor is this line of shell instead. */
  compressorThat(line: string): Promise<NodeJS.ProcessEnv>;
  /** Waits until a bundle is being written. */
  waitForPart(): Promise<void>;
  /** All files in the backup datastore. */
  bundlesThere(): Promise<string[]>;
}

export interface VmWish {
  readonly format: 'raw' | 'qcow2';
  /** Of the image; default 1, TM ssh. */
  readonly datastore?: number;
  readonly owner?: string;
  /** More attributes of its template. */
  readonly more?: string;
  /** What the guest wrote to the start of its disk. */
  readonly begin?: string;
}

interface Running {
  readonly started?: (pid: number) => void;
  readonly env?: NodeJS.ProcessEnv;
}

export interface StagedVm {
  readonly id: number;
  /** The disk as the guest has it. */
  readonly disk: string;
  /** Arguments and stdin of `backup`. */
  readonly args: readonly string[];
  readonly input: string;
}

export async function makeBackupWorld(
  attributes: Readonly<Record<string, string>> = {},
): Promise<BackupWorld> {
  const world = await makeWorld();
  const location = join(world.folder, 'location');
  await mkdir(join(location, 'var/.one'), { recursive: true });
  await writeFile(join(location, 'var/.one/onegate_auth'), 'serveradmin:not so secret\n');
  world.sandbox.setServerPassword('not so secret');
  const driverEnv = { ...world.env, ONE_LOCATION: location };
  const datastore = await world.sandbox.addBackupDatastore(
    datastoreId,
    { folder: driver, env: driverEnv },
    attributes,
  );
  const action: BackupWorld['action'] = (name, args, input = '', running = {}) =>
    runToEnd(join(driver, name), args, {
      input,
      ...running,
      env: { ...driverEnv, ...running.env },
    });
  const basePath = join(world.datastores, String(datastoreId));
  return {
    ...world,
    basePath,
    datastore,
    driverEnv,
    action,
    request: (name, inside) =>
      action(
        name,
        ['17'],
        Buffer.from(`<DS_DRIVER_ACTION_DATA>${inside}</DS_DRIVER_ACTION_DATA>`).toString('base64'),
      ),
    compressorThat: (line) => slowCompressor(join(world.folder, 'bin'), 'zstd', line),
    async waitForPart() {
      for (;;) {
        const names = await readdir(basePath, { recursive: true });
        if (names.some((name) => name.endsWith('.part'))) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    makeVm: (options) => makeVm(world, datastore, options),
    bundlesThere: async () => (await readdir(basePath, { recursive: true })).sort(),
  };
}

async function makeVm(
  { sandbox, folder }: World,
  datastore: string,
  { format, datastore: imageDatastore = 1, owner = 'oneadmin', more = '', begin = '' }: VmWish,
): Promise<StagedVm> {
  const file = join(folder, `source.${format}`);
  await sh('qemu-img', 'create', '-q', '-f', format, file, '8M');
  const write = ['-f', format, '-c', 'write -P 7 64k 1M', '-c', 'write -P 9 5M 300k', file];
  await sh('qemu-io', ...write);
  if (begin !== '') {
    const beginning = join(folder, 'begin');
    await writeFile(
      beginning,
      Buffer.concat([Buffer.from(begin, 'latin1'), Buffer.alloc(512)]).subarray(0, 512),
    );
    await sh('qemu-io', '-f', format, '-c', `write -s ${beginning} 0 512`, file);
  }
  const image = await sandbox.makeImage({
    name: `source ${Math.random()}`,
    file,
    datastore: imageDatastore,
    format,
    owner,
  });
  const id = await sandbox.makeVm({
    template: `CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=${image}]\n${more}`,
    name: 'vm',
    state: 'poweroff',
    owner,
  });
  const vmFolder = sandbox.vmFolder(id);
  const disk = join(vmFolder, 'disk.0');
  const staged = join(vmFolder, 'backup/disk.0.0');
  await mkdir(dirname(staged));
  await sh('qemu-img', 'convert', '-f', format, '-O', 'qcow2', disk, staged);
  // The state oned is in while it runs the action for a VM that is off.
  sandbox.setState(id, 3, 70);
  const xml = sandbox.vmXml(id);
  await writeFile(join(dirname(staged), 'vm.xml'), Buffer.from(xml).toString('base64'));
  return {
    id,
    disk,
    args: [
      `localhost:${vmFolder.replace('/datastores', '//datastores')}`,
      '0',
      `one-${id}`,
      '-',
      String(id),
      '0',
    ],
    input: `<DS_DRIVER_ACTION_DATA>\n  ${datastore}\n  ${xml}\n</DS_DRIVER_ACTION_DATA>\n`,
  };
}
