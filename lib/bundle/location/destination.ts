// Where a bundle goes: `-d` takes a folder, as its documentation said, or the full name of the file,
// as the older onevmdump really took it.
import { access, constants, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { createFileSink, isWritten, partsOf } from './file-sink.ts';
import { createSshSink } from './ssh-sink.ts';
import type { BundleSink } from '../sink.ts';
import { bundleName, type BundleNameFacts } from '../format/bundle-name.ts';
import { errorMessage, FailedError, hasCode, UsageError } from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import type { Runner, SshTarget } from '../../run/runner.ts';
import { loginName } from '../../run/ssh-errors.ts';
import type { Undo } from '../../run/undo.ts';
import { removeFile } from '../../run/undo-kinds.ts';
import { canWriteFolder, kindOfPath, namesIn } from './host-file.ts';
import { removeUnfinishedBundle } from './undo.ts';
import { isPartOf, partName } from '../../vm/names.ts';

/**
 * The bundle's full path. Checked before anything is done: its folder exists and can be written,
 * the name is free.
 * @throws UsageError, FailedError
 */
export async function bundleDestination(
  destination: string,
  facts: BundleNameFacts,
  place: Place = here,
): Promise<string> {
  if (place !== here && !isAbsolute(destination)) {
    throw new UsageError(
      `${destination} must be an absolute path, as it is one on ${place.name ?? 'a host'}`,
    );
  }
  const path = resolve(destination);
  const name = bundleName(facts);
  const isFolder = destination.endsWith('/') || (await place.kind(path)) === 'folder';
  const bundle = isFolder ? join(path, name) : path;
  const folder = dirname(bundle);
  const what = (one: string): string => (place.name === undefined ? one : `${place.name}:${one}`);
  if ((await place.kind(folder)) !== 'folder') {
    throw new UsageError(`cannot write ${what(bundle)}: there is no folder ${folder}`);
  }
  if ((await place.kind(bundle)) !== 'nothing') {
    throw new UsageError(`cannot write ${what(bundle)}: it is already there`);
  }
  // Asked again when it is opened: here, before anything is done to the VM.
  const [part] = await place.partsOf(bundle);
  if (part !== undefined) throw new FailedError(`cannot write ${what(bundle)}: ${isWritten(part)}`);
  try {
    await place.requireWritable(folder);
  } catch (error) {
    throw new FailedError(
      `cannot write ${basename(bundle)} in ${what(folder)}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
  return bundle;
}

/** A bundle that is going to be written. */
export interface BundleTarget {
  /** Its path; host:path on another machine. */
  readonly name: string;
  /** The other machine; undefined is this one. */
  readonly host: SshTarget | undefined;
  /** What removes an unfinished one; recorded before `open`. */
  readonly undo: Undo;
  open(): Promise<BundleSink>;
}

/** Where the bundle goes, checked, on this machine or on `host`. @throws UsageError, FailedError */
export async function bundleTarget(
  destination: string,
  host: SshTarget | undefined,
  { runnerAt, signal }: Pick<Run, 'runnerAt' | 'signal'>,
  facts: Parameters<typeof bundleDestination>[1],
): Promise<BundleTarget> {
  if (!host) {
    const name = await bundleDestination(destination, facts);
    const part = partName(name);
    const undo = removeFile.undo({ path: part });
    return { name, host, undo, open: () => createFileSink(name, part) };
  }
  const runner = runnerAt(host);
  const path = await bundleDestination(destination, facts, placeAt(runner));
  const file = { part: partName(path), path };
  const name = `${loginName(bracketed(host))}:${path}`;
  return {
    name,
    host,
    undo: removeUnfinishedBundle.undo(file),
    open: () => createSshSink(runner, file, { name, signal }),
  };
}

/** As scp takes it: an IPv6 address would end at its first colon. */
function bracketed(target: SshTarget): SshTarget {
  return target.host.includes(':') ? { ...target, host: `[${target.host}]` } : target;
}

/** The machine where the bundle goes. */
export interface Place {
  /** As messages name it; undefined for this one. */
  readonly name: string | undefined;
  kind(path: string): Promise<'folder' | 'other' | 'nothing'>;
  /** The part files of a bundle; none where its folder cannot be listed. */
  partsOf(bundle: string): Promise<readonly string[]>;
  /** Rejects with the reason. */
  requireWritable(folder: string): Promise<void>;
}

const here: Place = {
  name: undefined,
  kind,
  partsOf,
  requireWritable: (folder) => access(folder, constants.W_OK | constants.X_OK),
};

export function placeAt(runner: Runner): Place {
  return {
    name: runner.where,
    kind: (path) => kindOfPath(runner, path),
    async partsOf(bundle) {
      const folder = dirname(bundle);
      const names = await namesIn(runner, folder).catch((error: unknown) => {
        if (error instanceof UsageError) return [];
        throw error;
      });
      return names.filter((one) => isPartOf(one, basename(bundle))).map((one) => join(folder, one));
    },
    async requireWritable(folder) {
      if (!(await canWriteFolder(runner, folder))) throw new FailedError('permission denied');
    },
  };
}

async function kind(path: string): Promise<'folder' | 'other' | 'nothing'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'other';
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return 'nothing';
    throw new FailedError(`cannot look at ${path}: ${errorMessage(error)}`, { cause: error });
  }
}
