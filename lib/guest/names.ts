// The names of a guest's watchdog and of its file. DO NOT CHANGE: `cleanup` finds them by these names.
import { ownPrefix } from '../run/own-prefix.ts';

/** A word in the command line of the watchdog, which thaws or resumes a guest when the run cannot. */
export function watchdogName(runId: string): string {
  return `${ownPrefix}guard-${runId}`;
}

/** The file that the watchdog leaves when it has thawed or resumed the guest. */
export function watchdogMark(watchdog: string): string {
  return `/tmp/${watchdog}`;
}
