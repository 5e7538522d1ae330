// How a running guest is held while the point in time of its disks is fixed.
import { UsageError } from '../report/errors.ts';

const modes = ['agent', 'suspend', 'none'] as const;

/** `agent`: its agent freezes the file systems. `suspend`: it is paused. `none`: it runs on. */
export type FreezeMode = (typeof modes)[number];

/** @throws UsageError when `text` is no mode. */
export function parseFreezeMode(text: string): FreezeMode {
  const found = modes.find((mode) => mode === text);
  if (found) return found;
  throw new UsageError(`${JSON.stringify(text)} is none of ${modes.join(', ')}`);
}
