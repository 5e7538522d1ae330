// The JSON that says how a disk is opened that a backup job serves. Only this folder reads it.
import { object } from '../../run/json-object.ts';
import { count, text, type Infer } from '../../run/json-shape.ts';

/** An export of the NBD server of a backup job. The paths are on the machine of the disks. */
export const jobSource = object({
  socket: text,
  exportName: text,
  /** In bytes; not always a multiple of 512. */
  virtualSize: count(),
  /** The job's description. It disappears when the job was ended because there was too little free space. */
  description: text,
  /** The process that watches the free space. */
  watch: object({
    /** A word in its command line. */
    name: text,
    /** In bytes. */
    lowWaterMark: count(),
  }),
});
export type JobSource = Infer<typeof jobSource>;
