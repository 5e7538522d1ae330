// What rbd prints, made by hand.
import type { Extent } from '../../lib/read/extent.ts';

/** `rbd diff --format json`. */
export function diffJson(
  extents: readonly (Extent & { readonly exists?: boolean })[],
  separator = '',
): string {
  const objects = extents.map(
    ({ offset, length, exists = true }) =>
      `{"offset":${offset},"length":${length},"exists":"${exists}"}`,
  );
  return `[${objects.join(`,${separator}`)}]${separator}`;
}

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

export const u64 = (value: number | bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

/** Records of `rbd export-diff`. */
export const head = Buffer.from('rbd diff v1\n');
export const size = (bytes: number | bigint): Buffer =>
  Buffer.concat([Buffer.from('s'), u64(bytes)]);
export const to = (name: string): Buffer =>
  Buffer.concat([Buffer.from('t'), u32(name.length), Buffer.from(name)]);
export const data = (offset: number | bigint, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from('w'), u64(offset), u64(bytes.length), bytes]);
export const zero = (offset: number, length: number): Buffer =>
  Buffer.concat([Buffer.from('z'), u64(offset), u64(length)]);
export const end = Buffer.from('e');

/** Bytes in chunks of these lengths, again and again; whole without them. */
export async function* inChunks(
  bytes: Uint8Array | string,
  lengths: readonly number[] = [],
): AsyncGenerator<Buffer> {
  const all = Buffer.from(bytes as Uint8Array);
  for (let at = 0, turn = 0; at < all.length; turn++) {
    const length = lengths.length === 0 ? all.length : (lengths[turn % lengths.length] ?? 1);
    yield await Promise.resolve(all.subarray(at, at + length));
    at += length;
  }
}
