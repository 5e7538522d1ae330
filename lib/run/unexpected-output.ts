// The error of a program that ended well, but printed something that cannot be used.
import { CommandError } from '../report/errors.ts';

/** As much of the output as a message shows, in characters. */
const shown = 200;

/**
 * The error for output that cannot be used.
 * @param doing what the program was to do: "look at the domain one-7"
 * @param why what is wrong with the output; by default only how it begins
 */
export function unexpectedOutput(
  program: string,
  doing: string,
  { stdout, why }: { readonly stdout: string | Buffer; readonly why?: string },
): CommandError {
  const start = JSON.stringify(stdout.toString().trim().slice(0, shown));
  const reason = why === undefined ? start : `${why}: ${start}`;
  const message = `cannot ${doing}: unexpected output of ${program}: ${reason}`;
  return new CommandError(message, { command: program, status: 0 });
}
