// The messages of commands that salvage a bundle which lost its end.
import { PartialError } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import type { Bundle } from './bundle.ts';

/** Logs a warning if a bundle that was opened to be salvaged has lost its end. */
export function warnOfLostEnd({ cut }: Bundle, log: Log): void {
  if (cut === undefined) return;
  log.warn(`the bundle lost its end, and no checksum proves its disks: ${cut}`);
}

/** The error of a command that has salvaged a bundle. @param got what it got, and what is missing */
export function salvaged(got: string): PartialError {
  return new PartialError(`the bundle lost its end: ${got}`);
}
