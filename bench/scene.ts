// What the sides work on: VMs with disks of real files, their data in files for other tools, and an OpenNebula stand-in.
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fileVm } from '../test/support/file-vm.ts';
import { installOnevmdump } from '../test/support/installed-world.ts';
import { sh } from '../test/support/shell.ts';
import { startSandbox, type Sandbox } from '../test/sandbox/sandbox.ts';
import { makeFileSystem } from './disk.ts';

/** The built command, seen from `dist/bench`. */
export const onevmdump = join(dirname(fileURLToPath(import.meta.url)), '../bin/onevmdump');

/** Its id. */
const backupDatastore = 103;

export interface SceneVm {
  /** The VM's XML in a file. */
  readonly xml: string;
  /** Its only disk. */
  readonly disk: string;
}

/** What only some sides need, so that it takes no space for the others. */
export type Part = 'qcow2' | 'wide' | 'data' | 'pieces' | 'bundle' | 'installed';

export interface Scene {
  readonly folder: string;
  /** For the command: its folders, and the stand-in as its OpenNebula. */
  readonly env: NodeJS.ProcessEnv;
  readonly sandbox: Sandbox;
  readonly raw: SceneVm;
  readonly qcow2: SceneVm;
  /** As `raw`, with 20 GiB of virtual size. */
  readonly wide: SceneVm;
  /** Only the allocated bytes of the raw disk: what any tool has to compress. */
  readonly data: string;
  /** The same in as many pieces as there are CPUs: a shell pattern. */
  readonly pieces: string;
  /** `data` and the pieces after `igzip -1`. */
  readonly compressed: string;
  readonly compressedPieces: string;
  /** A bundle of `raw` with gzip, which stays. */
  readonly bundle: string;
  /** Stands for $ONE_LOCATION, once onevmdump is installed there. */
  readonly location: string;
  /** Bytes of the raw disk that are no holes. */
  readonly dataBytes: number;
  /** Makes parts that a side needs, each once. */
  provide(parts: readonly Part[]): Promise<void>;
  close(): Promise<void>;
}

export interface SceneOptions {
  /** Where the scene's folder is made: on the file system that is measured. */
  readonly dir: string;
  readonly dataMiB: number;
  readonly virtualMiB: number;
}

export async function makeScene(options: SceneOptions): Promise<Scene> {
  const folder = await mkdtemp(join(options.dir, 'onevmdump-bench-'));
  // A run that is ended must not leave gigabytes behind.
  const endNow = (): void => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    process.exit(1);
  };
  process.once('SIGINT', endNow).once('SIGTERM', endNow);
  try {
    const scene = await fill(folder, options);
    return {
      ...scene,
      async close() {
        await scene.close();
        process.off('SIGINT', endNow).off('SIGTERM', endNow);
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function fill(folder: string, { dataMiB, virtualMiB }: SceneOptions): Promise<Scene> {
  const datastores = join(folder, 'one/datastores');
  const vm = async (id: number, format: 'raw' | 'qcow2'): Promise<SceneVm> => {
    const { xml, path } = await fileVm(datastores, id, [{ id: 0, format }]);
    const file = join(folder, `${id}.xml`);
    await writeFile(file, xml);
    return { xml: file, disk: path(0) };
  };
  const raw = await vm(1, 'raw');
  await makeFileSystem(raw.disk, { virtualMiB, dataMiB });
  const sandbox = await startSandbox({
    dir: join(folder, 'one'),
    safeDirs: folder,
    imageCopyMs: 1,
  });
  const made = new Set<Part>();
  const scene: Scene = {
    folder,
    env: {
      ONE_XMLRPC: sandbox.endpoint,
      ONE_AUTH: sandbox.authFile,
      ONEVMDUMP_CONFIG: '/dev/null',
      ONEVMDUMP_STATE_DIR: join(folder, 'state'),
      ONEVMDUMP_STAGING_DIR: join(folder, 'staging'),
      ONEVMDUMP_DATASTORE_LOCATION: datastores,
    },
    sandbox,
    raw,
    qcow2: await vm(2, 'qcow2'),
    wide: await vm(3, 'raw'),
    data: join(folder, 'data.bin'),
    pieces: join(folder, 'piece.*[!z]'),
    compressed: join(folder, 'data.bin.gz'),
    compressedPieces: join(folder, 'piece.*.gz'),
    bundle: join(folder, 'kept.tar.gz'),
    location: join(folder, 'location'),
    dataBytes: (await dataOf(raw.disk)).reduce((sum, { length }) => sum + length, 0),
    async provide(parts) {
      for (const part of parts) {
        if (made.has(part)) continue;
        made.add(part);
        await makers[part](scene);
      }
    },
    async close() {
      await sandbox.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return scene;
}

const makers: Readonly<Record<Part, (scene: Scene) => Promise<unknown>>> = {
  qcow2: ({ raw, qcow2 }) =>
    sh('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw.disk, qcow2.disk),
  async wide({ raw, wide }) {
    await sh('cp', '--sparse=always', raw.disk, wide.disk);
    await sh('truncate', '-s', '20G', wide.disk);
  },
  async data({ raw, data, compressed }) {
    await writeDataOnly(raw.disk, data);
    await sh('bash', '-c', `igzip -1 -c < '${data}' > '${compressed}'`);
  },
  async pieces(scene) {
    const { folder, data, pieces } = scene;
    await scene.provide(['data']);
    await sh('split', '-n', String(cpus().length), data, `${folder}/piece.`);
    await sh('bash', '-c', `for file in ${pieces}; do igzip -1 -c < "$file" > "$file.gz"; done`);
  },
  async installed({ folder, env, sandbox, location }) {
    await mkdir(join(location, 'var/.one'), { recursive: true });
    await writeFile(join(location, 'var/.one/onegate_auth'), 'serveradmin:bench\n');
    sandbox.setServerPassword('bench');
    const driverEnv = { ...process.env, ...env, ONE_LOCATION: location };
    await sandbox.addBackupDatastore(backupDatastore, { folder, env: driverEnv });
    await installOnevmdump(location, {
      sandbox,
      stateFolder: join(folder, 'state'),
      driverEnv,
    });
  },
  async bundle({ env, bundle, raw }) {
    const exported = `env "$@" '${onevmdump}' export --stdin -L -d '${bundle}' < '${raw.xml}'`;
    const variables = Object.entries(env).map(([name, value]) => `${name}=${String(value)}`);
    await sh('bash', '-c', exported, 'export', ...variables);
  },
};

/** Writes the allocated bytes of a sparse raw image one after the other. */
async function writeDataOnly(disk: string, target: string): Promise<void> {
  await writeFile(target, '');
  for (const { start, length } of await dataOf(disk)) {
    const range = `skip=${start} count=${length} iflag=skip_bytes,count_bytes`;
    await sh('bash', '-c', `dd if='${disk}' ${range} bs=1M status=none >> '${target}'`);
  }
}

/** What is allocated of a sparse raw image, in bytes. */
async function dataOf(disk: string): Promise<readonly { start: number; length: number }[]> {
  const map = JSON.parse(await sh('qemu-img', 'map', '--output=json', '-f', 'raw', disk)) as {
    start: number;
    length: number;
    data: boolean;
  }[];
  return map.filter(({ data }) => data);
}
