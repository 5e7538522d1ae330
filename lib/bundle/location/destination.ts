// The file that a bundle is written to. `-d` takes a folder, as the documentation of the older onevmdump said, or the full
// name of the file, as it really took.
import { access, constants, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { createFileSink, alreadyWritten, partsOf } from './file-sink.ts';
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
import { isPartOf, longestFileName, partName } from '../../vm/names.ts';

/**
 * The bundle's full path. Checks that its folder exists and can be written, and that the name is free.
 * @throws UsageError when the destination cannot be used, FailedError when it cannot be checked or written
 */
export async function bundleDestination(
  destination: string,
  facts: BundleNameFacts,
  machine: TargetMachine = thisMachine,
): Promise<string> {
  if (machine !== thisMachine && !isAbsolute(destination)) {
    throw new UsageError(
      `${destination} must be an absolute path, because it is on ${machine.name ?? 'a host'}`,
    );
  }
  const path = resolve(destination);
  const name = bundleName(facts);
  const isFolder = destination.endsWith('/') || (await machine.kind(path)) === 'folder';
  const bundle = isFolder ? join(path, name) : path;
  if (Buffer.byteLength(basename(bundle)) > longestFileName) {
    throw new UsageError(
      `cannot write ${bundle}: its name has more than ${longestFileName} bytes, and a longer one is used while it is written`,
    );
  }
  const folder = dirname(bundle);
  const what = (file: string): string =>
    machine.name === undefined ? file : `${machine.name}:${file}`;
  if ((await machine.kind(folder)) !== 'folder') {
    throw new UsageError(`cannot write ${what(bundle)}: there is no folder ${folder}`);
  }
  if ((await machine.kind(bundle)) !== 'nothing') {
    throw new UsageError(`cannot write ${what(bundle)}: it exists already`);
  }
  // Also checked when the bundle is opened; checked here to fail before anything is done to the VM.
  const [part] = await machine.partsOf(bundle);
  if (part !== undefined)
    throw new FailedError(`cannot write ${what(bundle)}: ${alreadyWritten(part)}`);
  try {
    await machine.requireWritable(folder);
  } catch (error) {
    throw new FailedError(
      `cannot write ${basename(bundle)} in ${what(folder)}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
  return bundle;
}

/** A bundle that will be written. */
export interface BundleTarget {
  /** Its path; host:path on another machine. */
  readonly name: string;
  /** The other machine; undefined: this one. */
  readonly host: SshTarget | undefined;
  /** Removes an unfinished bundle; the caller records it before `open`. */
  readonly undo: Undo;
  open(): Promise<BundleSink>;
}

/** The checked target of a bundle, on this machine or on `host`. @throws UsageError, FailedError */
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
  const path = await bundleDestination(destination, facts, machineOf(runner));
  const file = { part: partName(path), path };
  const name = `${loginName(bracketed(host))}:${path}`;
  return {
    name,
    host,
    undo: removeUnfinishedBundle.undo(file),
    open: () => createSshSink(runner, file, { name, signal }),
  };
}

/** An IPv6 address in brackets, as scp needs it: without them it would end at its first colon. */
function bracketed(target: SshTarget): SshTarget {
  return target.host.includes(':') ? { ...target, host: `[${target.host}]` } : target;
}

/** The machine that a bundle is written to. */
export interface TargetMachine {
  /** Its name for messages; undefined for this one. */
  readonly name: string | undefined;
  kind(path: string): Promise<'folder' | 'other' | 'nothing'>;
  /** The part files of a bundle; none when its folder cannot be listed. */
  partsOf(bundle: string): Promise<readonly string[]>;
  /** Rejects with the reason when the folder cannot be written. */
  requireWritable(folder: string): Promise<void>;
}

const thisMachine: TargetMachine = {
  name: undefined,
  kind,
  partsOf,
  requireWritable: (folder) => access(folder, constants.W_OK | constants.X_OK),
};

/** The machine on which `runner` runs commands. */
export function machineOf(runner: Runner): TargetMachine {
  return {
    name: runner.where,
    kind: (path) => kindOfPath(runner, path),
    async partsOf(bundle) {
      const folder = dirname(bundle);
      const names = await namesIn(runner, folder).catch((error: unknown) => {
        if (error instanceof UsageError) return [];
        throw error;
      });
      return names
        .filter((name) => isPartOf(name, basename(bundle)))
        .map((name) => join(folder, name));
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
