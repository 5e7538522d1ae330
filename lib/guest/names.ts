// The names by which the watchdog of a guest is found. DO NOT CHANGE: `cleanup` finds it by them.
import { ownPrefix } from '../run/own-prefix.ts';

/** The word in the command line of the process that lets a guest go on when a run cannot. */
export function watchdogName(runId: string): string {
  return `${ownPrefix}guard-${runId}`;
}

/** What that process leaves when it has let the guest go. */
export function watchdogMark(watchdog: string): string {
  return `/tmp/${watchdog}`;
}
