// The JSON that says how a disk that is a file is opened at its point in time. Only this module reads it.
import { dictionary, object, optional, variants } from '../../run/json-object.ts';
import { count, oneOf, text, type Infer } from '../../run/json-shape.ts';
import type { BlockNode } from '../../tools/qemu-nbd.ts';

const raw = object({ path: text, device: optional(oneOf(true)) });
const qcow2 = object({
  path: text,
  backing: (value, place): BlockNode | null => (value === null ? null : blockNode(value, place)),
});
const layers = variants('driver', { raw, qcow2 });
function blockNode(value: unknown, place: string): BlockNode {
  return layers(value, place);
}

/** An image (a file with its backing files) that nobody writes to. */
export const fileSource = object({
  node: blockNode,
  /** In bytes; not always a multiple of 512. */
  virtualSize: count(),
  /** What `fileStamps` returned for its files before they were read, by path. */
  stamps: dictionary(text),
});

export type FileSource = Infer<typeof fileSource>;
