// Stand-ins on PATH for every program the command may run: each counts itself and does the real work,
// except the n-th call, which fails, or first sends the command a signal.
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sh } from './shell.ts';

export const usualPrograms = [
  'dd', 'head', 'igzip', 'gzip', 'lvchange', 'lvcreate', 'lvremove', 'lvs', 'mkdir', 'pigz', 'qemu-img',
  'qemu-nbd', 'rbd', 'readlink', 'realpath', 'rm', 'stat', 'test', 'virsh', 'zstd',
]; // prettier-ignore

/** On hosts that are reached by ssh; there the keeper of a connection calls head every now and then. */
export const programsBySsh = [
  ...usualPrograms.filter((one) => one !== 'head'),
  ...['ln', 'sh', 'sync'],
];

export interface StandIns {
  /** What to add to the command's environment. */
  readonly env: NodeJS.ProcessEnv;
  /** Forgets all calls. `at` counts from 1; 0 lets everything succeed. */
  reset(at: number, then: 'fail' | 'SIGTERM' | 'SIGINT' | 'SIGKILL'): Promise<void>;
  /** The programs called since `reset`, in order. */
  called(): Promise<string[]>;
}

export interface StandInOptions {
  /** Whether a program is there where they are going to be used; default: on this machine. */
  readonly installed?: (program: string) => Promise<boolean>;
  readonly programs?: readonly string[];
  /** Lines of sh that send the command the signal `$action`; default: where the command is their parent. */
  readonly signal?: string;
}

// Compressors are started by a shell of their own: the command is the first Node above.
const signalAbove = `command=$PPID
  while [ "$(/usr/bin/readlink "/proc/$command/exe")" = "$(/usr/bin/readlink -f /bin/sh)" ]; do
    read -r _ _ _ command _ < "/proc/$command/stat"
  done
  kill -s "\${action#SIG}" "$command"
  /usr/bin/sleep 0.1`;

/** Makes them in `folder`. */
export async function makeStandIns(
  folder: string,
  { installed = isHere, programs = usualPrograms, signal = signalAbove }: StandInOptions = {},
): Promise<StandIns> {
  const bin = join(folder, 'stand-ins');
  const list = join(folder, 'called');
  await mkdir(bin, { recursive: true });
  for (const program of programs) {
    if (!(await installed(program))) continue;
    // It starts no program before the real one: where starting one takes long, every call counts.
    const script = `#!/bin/sh
own=\${0%/*}
IFS=:
for folder in $PATH; do
  real=$folder/${program}
  [ "$folder" = "$own" ] || ! [ -x "$real" ] || break
done
unset IFS
# Processes that outlive the command, and look after its guest or its job, call programs whenever they like.
while read -r line || [ -n "$line" ]; do
  case $line in *onevmdump-space-* | *onevmdump-guard-*) exec "$real" "$@" ;; esac
done 2>/dev/null <"/proc/$PPID/cmdline"
# Lines of several at once do not mix; ours is the last with this process's number.
echo "${program} $$" >>'${list}'
lines=0
while read -r _ pid; do
  lines=$((lines + 1))
  [ "$pid" != $$ ] || number=$lines
done <'${list}'
read -r at action <'${list}.plan'
if [ "$number" = "$at" ]; then
  if [ "$action" = fail ]; then
    echo '${program}: told to fail' >&2
    exit 77
  fi
  ${signal}
fi
exec "$real" "$@"
`;
    await writeFile(join(bin, program), script);
    await chmod(join(bin, program), 0o755);
  }
  return {
    env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    async reset(at, then) {
      // A file and no variables: programs need not get all of the command's environment.
      await writeFile(`${list}.plan`, `${at} ${then}\n`);
      await writeFile(list, '');
    },
    called: async () => programsIn(await readFile(list, 'utf8')),
  };
}

/** What the stand-ins have written: a line for each call, the program and its process. */
export function programsIn(list: string): string[] {
  return list
    .split('\n')
    .filter(Boolean)
    .map((line) => line.replace(/ .*/, ''));
}

async function isHere(program: string): Promise<boolean> {
  return (await sh('bash', '-c', `type -P ${program} || true`)).trim() !== '';
}
