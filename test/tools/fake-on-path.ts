// Fakes of external programs, found on PATH as the real ones are: shell scripts that note the exact words they get.
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Command, Runner } from '../../lib/run/runner.ts';
import { inFolder, quiet } from '../support/nbd-servers.ts';

export interface Fakes {
  /** Runs programs of this machine, with the fakes before all others on PATH. */
  readonly runner: Runner;
  /** The calls so far in order, each with the program's name and all its words. */
  calls(): Promise<readonly (readonly string[])[]>;
  /** A temporary folder. */
  readonly folder: string;
}

/**
 * Makes fakes for as long as `body` runs.
 * @param programs what each of them does: lines of sh, with the words in "$@".
 */
export async function withFakes<T>(
  programs: Readonly<Record<string, string>>,
  body: (fakes: Fakes) => Promise<T>,
): Promise<T> {
  return await inFolder(async (folder) => {
    const bin = join(folder, 'bin');
    const notes = join(folder, 'calls');
    await mkdir(bin);
    await writeFile(notes, '');
    for (const [name, lines] of Object.entries(programs)) {
      const note = `printf '%s\\0' $(($# + 1)) ${name} "$@" >>'${notes}'`;
      await writeFile(join(bin, name), `#!/bin/sh\n${note}\n${lines}\n`);
      await chmod(join(bin, name), 0o755);
    }
    const real = localRunner(quiet);
    const PATH = `${bin}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
    const found = (command: Command): Command => ({ ...command, env: { ...command.env, PATH } });
    const runner: Runner = {
      ...real,
      run: (command, options) => real.run(found(command), options),
      start: (command) => real.start(found(command)),
      startPiped: (command) => real.startPiped(found(command)),
    };
    return await body({
      runner,
      calls: async () => callsIn(await readFile(notes, 'utf8')),
      folder,
    });
  });
}

/** Each call is the number of its words, and the words. */
function callsIn(notes: string): string[][] {
  const words = notes.split('\0').slice(0, -1);
  const calls: string[][] = [];
  while (words.length > 0) calls.push(words.splice(0, Number(words.shift())));
  return calls;
}

/** Names of files that a shell, a program's options or a careless parser could take for something else. */
export const hostileNames = [
  '-n',
  '--help',
  'a b',
  "it's",
  '"double"',
  '$(touch owned)',
  '`id`; id',
  'line\nbreak',
  'a,b=c:d%s\\x',
  'ü€',
] as const;
