// The JSON that says how a disk on Ceph is opened at its point in time. Only this module reads it.
import { object, optional } from '../../run/json-object.ts';
import { count, text, type Infer } from '../../run/json-shape.ts';

/** The fields of `CephAccess`. */
export const accessShape = object({
  user: optional(text),
  keyfile: optional(text),
  conf: optional(text),
});

/** An RBD image at the given snapshot; without a snapshot, the image itself, to which nobody writes. */
export const rbdSource = object({
  access: accessShape,
  /** `<pool>/<image>`. */
  image: text,
  snapshot: optional(text),
  /** In bytes; not always a multiple of 512. */
  virtualSize: count(),
});
export type CephSource = Infer<typeof rbdSource>;
