// What is done to a running guest at the point in time of its export.
import { UsageError } from '../report/errors.ts';

const modes = ['agent', 'suspend', 'none'] as const;

/** `agent`: the guest agent freezes the file systems. `suspend`: the guest is paused. `none`: it keeps running. */
export type FreezeMode = (typeof modes)[number];

/** @throws UsageError when `text` is not a mode. */
export function parseFreezeMode(text: string): FreezeMode {
  const found = modes.find((mode) => mode === text);
  if (found) return found;
  throw new UsageError(`${JSON.stringify(text)} is none of ${modes.join(', ')}`);
}
