// The JSON that says how a disk that is a block device is opened. Only this module reads it.
import { object } from '../../run/json-object.ts';
import { count, text, type Infer } from '../../run/json-shape.ts';

/** A device that nobody writes to. */
export const deviceSource = object({
  path: text,
  /** What `writesTo` returned before it was read. */
  writes: text,
  /** Bytes. */
  virtualSize: count(),
});
export type DeviceSource = Infer<typeof deviceSource>;
