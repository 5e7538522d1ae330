// How a disk on LVM is opened at its point in time: JSON that only this module reads.
import { object, optional } from '../../run/json-object.ts';
import { count, oneOf, text, type Infer } from '../../run/json-shape.ts';

/** A logical volume that nobody writes to: a disk's own, or a snapshot, which can overflow. */
export const volumeSource = object({
  group: text,
  name: text,
  snapshot: optional(oneOf('thick', 'thin')),
  /** Of a disk's own volume: what had been written to it before it was read, as `writesTo` has it. */
  writes: optional(text),
  /** Bytes. */
  virtualSize: count(),
});
export type VolumeSource = Infer<typeof volumeSource>;
