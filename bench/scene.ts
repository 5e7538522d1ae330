// What the sides work on: VMs with disks of real files, their data in files for other tools, and an OpenNebula stand-in.
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fileVm, type FileVm } from '../test/support/file-vm.ts';
import { sh } from '../test/support/shell.ts';
import { startSandbox, type Sandbox } from '../test/sandbox/sandbox.ts';
import { makeFileSystem } from './disk.ts';

/** The built command, seen from `dist/bench`. */
export const onevmdump = join(dirname(fileURLToPath(import.meta.url)), '../bin/onevmdump');

export interface SceneVm {
  /** The VM's XML in a file. */
  readonly xml: string;
  /** Its only disk. */
  readonly disk: string;
}

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
  /** Bytes of `data`. */
  readonly dataBytes: number;
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
  try {
    return await fill(folder, options);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function fill(folder: string, { dataMiB, virtualMiB }: SceneOptions): Promise<Scene> {
  const datastores = join(folder, 'one/datastores');
  const [rawVm, qcow2Vm, wideVm] = await Promise.all([
    fileVm(datastores, 1, [{ id: 0, format: 'raw' }]),
    fileVm(datastores, 2, [{ id: 0, format: 'qcow2' }]),
    fileVm(datastores, 3, [{ id: 0, format: 'raw' }]),
  ]);
  await makeFileSystem(rawVm.path(0), { virtualMiB, dataMiB });
  await sh('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', rawVm.path(0), qcow2Vm.path(0));
  await sh('cp', '--sparse=always', rawVm.path(0), wideVm.path(0));
  await sh('truncate', '-s', '20G', wideVm.path(0));
  const vm = async (name: string, { xml, path }: FileVm): Promise<SceneVm> => {
    const file = join(folder, `${name}.xml`);
    await writeFile(file, xml);
    return { xml: file, disk: path(0) };
  };
  const raw = await vm('raw', rawVm);

  const data = join(folder, 'data.bin');
  await writeDataOnly(raw.disk, data);
  const pieces = join(folder, 'pieces');
  await mkdir(pieces);
  await sh('split', '-n', String(cpus().length), data, `${pieces}/piece.`);
  const script = `cd '${folder}' && for file in data.bin pieces/piece.*; do igzip -1 -c "$file" > "$file.gz"; done`;
  await sh('bash', '-c', script);

  const sandbox = await startSandbox({
    dir: join(folder, 'one'),
    safeDirs: folder,
    imageCopyMs: 1,
  });
  const env = {
    ONE_XMLRPC: sandbox.endpoint,
    ONE_AUTH: sandbox.authFile,
    ONEVMDUMP_CONFIG: '/dev/null',
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_STAGING_DIR: join(folder, 'staging'),
    ONEVMDUMP_DATASTORE_LOCATION: datastores,
  };
  const bundle = join(folder, 'kept.tar.gz');
  const exported = `env "$@" '${onevmdump}' export --stdin -L -d '${bundle}' < '${raw.xml}'`;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  await sh('bash', '-c', exported, 'export', ...variables);
  return {
    folder,
    env,
    sandbox,
    raw,
    qcow2: await vm('qcow2', qcow2Vm),
    wide: await vm('wide', wideVm),
    data,
    pieces: `${pieces}/piece.*[!z]`,
    compressed: `${data}.gz`,
    compressedPieces: `${pieces}/piece.*.gz`,
    bundle,
    dataBytes: (await stat(data)).size,
    async close() {
      await sandbox.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Writes the allocated bytes of a sparse raw image one after the other. */
async function writeDataOnly(disk: string, target: string): Promise<void> {
  const map = JSON.parse(await sh('qemu-img', 'map', '--output=json', '-f', 'raw', disk)) as {
    start: number;
    length: number;
    data: boolean;
  }[];
  await writeFile(target, '');
  for (const { start, length, data } of map) {
    if (!data) continue;
    const range = `skip=${start} count=${length} iflag=skip_bytes,count_bytes`;
    await sh('bash', '-c', `dd if='${disk}' ${range} bs=1M status=none >> '${target}'`);
  }
}
