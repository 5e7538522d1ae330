// What happens to bundles beside being written and read: they are removed, and their space is counted.
import { dirname } from 'node:path';
import { FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';
import { bundlePath, type BackupDatastore } from './backup-datastore.ts';

/**
 * Removes one bundle, and the VM's folder when it is the last one. One that is gone already is fine, but
 * not a datastore that is gone: it may be not mounted.
 * @throws UsageError when it is not the name of a bundle, CommandError
 */
export async function removeBundle(
  datastore: BackupDatastore,
  name: string,
  runner: Runner,
): Promise<void> {
  const path = bundlePath(datastore, name);
  await runner.run(
    { program: 'test', args: ['-d', datastore.basePath] },
    { doing: `find the datastore's folder ${datastore.basePath}` },
  );
  await runner.run({ program: 'rm', args: ['-f', '--', path] }, { doing: `remove ${path}` });
  await runner.run(
    { program: 'rmdir', args: ['--ignore-fail-on-non-empty', '--', dirname(path)] },
    // 1: there is no such folder any more.
    { doing: `remove the folder ${dirname(path)}`, acceptStatus: [1] },
  );
}

/** Sizes of the file system with the bundles, in MiB. */
export interface Space {
  readonly usedMb: number;
  readonly totalMb: number;
  readonly freeMb: number;
}

/** Makes the datastore's folder when it is missing, as oned does for others. @throws CommandError */
export async function spaceOf({ basePath }: BackupDatastore, runner: Runner): Promise<Space> {
  const doing = `look at the space in ${basePath}`;
  await runner.run({ program: 'mkdir', args: ['-p', '--', basePath] }, { doing });
  const args = ['-B1M', '--output=used,size,avail', '--', basePath];
  const { stdout } = await runner.run({ program: 'df', args }, { doing });
  const [, used, size, free] = /\n\s*(\d+)\s+(\d+)\s+(\d+)\s*$/.exec(stdout.toString()) ?? [];
  if (used === undefined) throw new FailedError(`cannot ${doing}: df printed ${String(stdout)}`);
  return { usedMb: Number(used), totalMb: Number(size), freeMb: Number(free) };
}
