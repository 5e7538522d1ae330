// Everything that onevmdump knows about a compression. Each compression has its own file in this folder, and
// compressions.ts is the table of them. docs/bundle-format.md defines frames and trailers.
export interface CompressionFormat {
  /** The end of a bundle's name, without a dot before it: `tar.gz`. */
  readonly extension: string;
  /**
   * The levels that a user can ask for, and the default, which is the fastest that still compresses; undefined if frames are
   * not compressed. lib/bundle/threads/engines.ts says what compresses them.
   */
  readonly levels?: Levels & { readonly default: number };
  /** The bytes that each frame begins with; undefined if a frame can begin with any bytes. */
  readonly frameMagic?: Buffer;
  /**
   * Reads what the last `frameEndSize` bytes of a frame say about its content. Set only if every decompressor checks
   * the content against them. Frames of such a format are decompressed separately, several at a time. Frames of other
   * formats are decompressed as one stream, and their CRC-32 is computed again.
   */
  readonly frameEnd?: (end: Buffer) => FrameFacts;
  /** The bytes before and after the record of a trailer. They make every decompressor skip the trailer. */
  readonly trailer: { readonly before: Buffer; readonly after: Buffer };
  /** Whether a file that begins with `head` (512 bytes, or the whole of a shorter file) is in this format. */
  isStart(head: Buffer): boolean;
  /** Decompresses all frames of some bytes, one after another. May begin before anybody reads. */
  decompress(stored: StoredBytes): Decompression;
}

export interface Levels {
  readonly lowest: number;
  readonly highest: number;
}

/** The size of a frame's content in bytes of the tar stream, and the CRC-32 of the content. */
export interface FrameFacts {
  readonly length: number;
  readonly crc32: number;
}

/** A part of a bundle's file, in its compressed form. */
export interface StoredBytes {
  /** Where it begins in the file. */
  readonly offset: number;
  readonly length: number;
  /** Its bytes; can be read once. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Set if zeros may follow the last frame: whether the file contains only zeros from this byte on. */
  readonly endsInZeros?: ((offset: number) => Promise<boolean>) | undefined;
  /** How many chunks of `chunkSize` bytes may be decompressed ahead of the reader. */
  readonly buffered?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Decompression {
  /**
   * The decompressed bytes; can be read once.
   * @throws LostEndError when the compressed data are damaged or incomplete, BundleError when something follows the
   *   last frame, the error of what reads the file, the signal's reason
   */
  readonly chunks: AsyncGenerator<Buffer>;
  /** Ends the decompression when its bytes are no longer needed. May be called at any time. */
  stop(): void;
}

/** Bytes read or decompressed at once. Larger chunks are not faster, and take more memory while they wait. */
export const chunkSize = 256 * 1024;

/** The size of the argument of `frameEnd`, in bytes. */
export const frameEndSize = 8;
