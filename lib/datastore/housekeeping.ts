// Makes the folders of bundles, removes bundles, and measures their space. `runner` is always that of the machine with the
// bundles.
import { dirname } from 'node:path';
import type { Runner } from '../run/runner.ts';
import { unexpectedOutput } from '../run/unexpected-output.ts';
import { removeEmptyFolder } from '../bundle/location/host-file.ts';
import { bundlePath, type BackupDatastore } from './backup-datastore.ts';

/** Makes the datastore's folder when it is missing, as OpenNebula does for other datastores. @throws CommandError */
export async function makeBase({ basePath }: BackupDatastore, runner: Runner): Promise<void> {
  const doing = `make the datastore's folder ${basePath}`;
  await runner.run({ program: 'mkdir', args: ['-p', '--', basePath] }, { doing });
}

/** Makes the folder of a VM's bundles, which only our user can read. @throws CommandError */
export async function makeFolder(runner: Runner, folder: string): Promise<void> {
  await runner.run(
    { program: 'mkdir', args: ['-p', '-m', '0700', '--', folder] },
    { doing: `make the folder ${folder}` },
  );
}

/**
 * Removes one bundle, and the VM's folder when it was the last one in it. A bundle that does not exist is not an error. A
 * datastore folder that does not exist is one, because the datastore may not be mounted.
 * @throws UsageError when it is not the name of a bundle, CommandError
 */
export async function removeBundle(
  datastore: BackupDatastore,
  name: string,
  runner: Runner,
): Promise<void> {
  const path = bundlePath(datastore, name);
  const doing = `find the datastore's folder ${datastore.basePath}`;
  await runner.run({ program: 'test', args: ['-d', datastore.basePath] }, { doing });
  await runner.run({ program: 'rm', args: ['-f', '--', path] }, { doing: `remove ${path}` });
  await removeEmptyFolder(runner, dirname(path));
}

/** Sizes of the file system with the bundles, in MiB. */
export interface Space {
  readonly usedMb: number;
  readonly totalMb: number;
  readonly freeMb: number;
}

/** The space of the datastore. Makes its folder when it is missing. @throws CommandError */
export async function spaceOf(datastore: BackupDatastore, runner: Runner): Promise<Space> {
  await makeBase(datastore, runner);
  const { basePath } = datastore;
  const doing = `look at the space in ${basePath}`;
  const args = ['-B1M', '--output=used,size,avail', '--', basePath];
  const { stdout } = await runner.run({ program: 'df', args }, { doing });
  const [, used, size, free] = /\n\s*(\d+)\s+(\d+)\s+(\d+)\s*$/.exec(stdout.toString()) ?? [];
  if (used === undefined) throw unexpectedOutput('df', doing, { stdout });
  return { usedMb: Number(used), totalMb: Number(size), freeMb: Number(free) };
}
