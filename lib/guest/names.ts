// The names by which the watchdog of a guest is found. DO NOT CHANGE: `cleanup` finds it by them.
import { ownPrefix } from '../run/own-prefix.ts';

/** The word in the command line of the process that lets a guest go on when a run cannot. */
export function guardName(runId: string): string {
  return `${ownPrefix}guard-${runId}`;
}

/** What that process leaves when it has let the guest go. */
export function guardMark(guard: string): string {
  return `/tmp/${guard}`;
}
