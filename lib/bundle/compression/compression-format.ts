// What a compression is: everything that onevmdump knows of one. Each has a file of its own in this folder, and
// compressions.ts is the table of all. docs/bundle-format.md says what frames and trailers are.
import type { Transform } from 'node:stream';

export interface CompressionFormat {
  /** The end of a bundle's name, without a dot before it: `tar.gz`. */
  readonly extension: string;
  /** How frames are compressed; undefined where they are not. */
  readonly encoding?: Encoding;
  /** The bytes that each frame begins with; undefined where it can begin with any. */
  readonly frameMagic?: Buffer;
  /**
   * What the last `frameEndSize` bytes of a frame say of its content, for a format of which every decompressor checks
   * the content against them. Frames of such a format are decompressed each alone and several at a time; those of
   * other formats in one stream, and their CRC-32 is computed anew.
   */
  readonly frameEnd?: (end: Buffer) => FrameFacts;
  /** The bytes of a trailer around its record, which make it something that every decompressor passes over. */
  readonly trailer: { readonly before: Buffer; readonly after: Buffer };
  /** Whether a file that begins with `head` (512 bytes, or the whole of a shorter file) is in this format. */
  isStart(head: Buffer): boolean;
  /** Decompresses all frames of some bytes, one after another. May begin before anybody reads. */
  decompress(stored: StoredBytes): Decompression;
}

export interface Encoding {
  /** The levels that a user can ask for, and the one that is meant by none: the fastest that still compresses. */
  readonly levels: Levels & { readonly default: number };
  /** What compresses, best first. The first that has the level and is installed is used. */
  readonly encoders: readonly Encoder[];
}

export interface Levels {
  readonly lowest: number;
  readonly highest: number;
}

/** What is known of a frame's content: its bytes of the tar stream, and the CRC-32 of those. */
export interface FrameFacts {
  readonly length: number;
  readonly crc32: number;
}

export type Encoder = ProgramEncoder | BuiltInEncoder;

/** A program that compresses stdin to stdout. What it writes depends on its input and the level alone. */
export interface ProgramEncoder {
  readonly program: string;
  /** The levels it has. */
  readonly levels: Levels;
  readonly args: (level: number) => readonly string[];
}

/** Compresses within this process. */
export interface BuiltInEncoder {
  /** For messages: `zlib`. */
  readonly builtIn: string;
  readonly levels: Levels;
  readonly start: (level: number) => Transform;
}

/** A part of a bundle's file, in its compressed form. */
export interface StoredBytes {
  /** Where it begins in the file. */
  readonly offset: number;
  readonly length: number;
  /** Its bytes; can be read once. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Given where zeros may follow the last frame: whether the file has nothing but zeros from this byte on. */
  readonly endsInZeros?: ((offset: number) => Promise<boolean>) | undefined;
  /** So many chunks of `chunkSize` are decompressed before they are asked for. */
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
  /** Ends it when its bytes are not needed any more. May be called at any time. */
  stop(): void;
}

/** Bytes read or decompressed at once: as fast as more, and what waits in buffers stays small. */
export const chunkSize = 256 * 1024;

/** The size of what `frameEnd` is given. */
export const frameEndSize = 8;
