// Runs several programs one after another as one command: by ssh, each of them would need a session of its own, while a guest may
// be waiting.
import type { Command, Output } from './runner.ts';

// Each command is passed as the number of its words, then the words. `eval` sees only positions, never a word.
const script = `
at=0
while [ "$#" -gt 0 ]; do
  count=$1 next=1 words=
  shift
  while [ "$next" -le "$count" ]; do
    words="$words \\"\\\${$next}\\""
    next=$((next + 1))
  done
  eval "$words" </dev/null >/dev/null || { printf '%s %s' "$at" "$?"; exit; }
  shift "$count"
  at=$((at + 1))
done`;

/** A command that runs these until one fails. It exits with 0 even then; see `failedInARow`. Their stdout is dropped. */
export function inARow(commands: readonly Command[]): Command {
  const words = commands.flatMap(({ program, args }) => [
    String(args.length + 1),
    program,
    ...args,
  ]);
  return { program: 'sh', args: ['-c', script, 'sh', ...words] };
}

/** Which command failed, counted from 0, and its exit status; undefined if none did. */
export function failedInARow({
  stdout,
}: Pick<Output, 'stdout'>): { readonly at: number; readonly status: number } | undefined {
  const [, at, status] = /^(\d+) (\d+)$/.exec(stdout.toString()) ?? [];
  return at === undefined ? undefined : { at: Number(at), status: Number(status) };
}
