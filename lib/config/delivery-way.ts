// How OpenNebula gets the disks of a bundle that the command restores.
import { oneOfWords } from './setting.ts';

const ways = ['auto', 'address', 'staged'] as const;

/**
 * `address`: its datastore driver fetches them from the bundle. `staged`: from files in the staging folder. `auto`: `address` if
 * that is possible, else `staged`.
 */
export type DeliveryWay = (typeof ways)[number];

/** @throws UsageError when `text` is not a way. */
export function parseDeliveryWay(text: string): DeliveryWay {
  return oneOfWords(text, ways);
}
