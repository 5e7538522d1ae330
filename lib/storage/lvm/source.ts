// The JSON that says how a disk on LVM is opened at its point in time. Only this module reads it.
import { object, optional } from '../../run/json-object.ts';
import { count, oneOf, text, type Infer } from '../../run/json-shape.ts';

/** A logical volume that nobody writes to: a disk's own volume, or a snapshot, which can overflow. */
export const volumeSource = object({
  group: text,
  name: text,
  snapshot: optional(oneOf('thick', 'thin')),
  /** Only for a disk's own volume: what `writesTo` returned before it was read. */
  writes: optional(text),
  /** Bytes. */
  virtualSize: count(),
});
export type VolumeSource = Infer<typeof volumeSource>;
