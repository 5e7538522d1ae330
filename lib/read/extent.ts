/** A run of bytes of a disk, in bytes from its start. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}
