// How a disk on Ceph is opened at its point in time: JSON that only this module reads.
import { object, optional } from '../../run/json-object.ts';
import { count, text, type Infer } from '../../run/json-shape.ts';

/** As `CephAccess`. */
export const accessShape = object({
  user: optional(text),
  keyfile: optional(text),
  conf: optional(text),
});

/** An RBD image as it was at a snapshot; without one the image itself, to which nobody writes. */
export const rbdSource = object({
  access: accessShape,
  /** `<pool>/<image>`. */
  image: text,
  snapshot: optional(text),
  /** Bytes, also where it is no multiple of 512. */
  virtualSize: count(),
});
export type CephSource = Infer<typeof rbdSource>;
