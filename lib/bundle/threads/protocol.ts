// What the main thread and the workers say to each other. Bytes of frames are never in messages: they are in slots, whose
// memory both see.
import type { Libraries, Method } from './engines.ts';

/** What a worker is started with. */
export interface WorkerSetup {
  readonly libraries: Libraries;
  /** Set when the workers will compress. */
  readonly encode?: { readonly method: Method; readonly level: number } | undefined;
  /** What it will decompress. */
  readonly decode: readonly Method[];
}

/** A place for one frame in memory: first `rawSize` bytes for its content, then, after a gap, its stored form. */
export interface SlotMemory {
  readonly memory: SharedArrayBuffer;
  readonly rawSize: number;
}

export type ToWorker =
  | { readonly kind: 'slot'; readonly slot: number; readonly memory: SlotMemory }
  | { readonly kind: 'job'; readonly id: number; readonly job: Job }
  /** Ends programs, then the worker. */
  | { readonly kind: 'stop' };

export type Job = CompressJob | DecompressJob | HashJob;

/** Answered by an EncodedFrame. */
export interface CompressJob {
  readonly kind: 'compress';
  readonly slot: number;
  readonly length: number;
}

/** Answered by nothing. */
export interface DecompressJob {
  readonly kind: 'decompress';
  readonly slot: number;
  readonly method: Method;
  readonly stored: number;
  readonly length: number;
  readonly crc32: number;
}

/** Answered by the hashes of the regions in `ended`, one after another. */
export interface HashJob {
  readonly kind: 'hash';
  /** Undefined if there are no parts. */
  readonly slot: number | undefined;
  /** Tells disks apart. */
  readonly disk: number;
  readonly virtualSize: number;
  /** Four numbers each: region, offset in the region, position and length in the slot's content. */
  readonly parts: Uint32Array;
  /** Regions of which nothing more will come. */
  readonly ended: Uint32Array;
}

export type FromWorker =
  | { readonly kind: 'ready'; readonly report: WorkerReport }
  | { readonly kind: 'unable'; readonly does: 'compress' | 'decompress'; readonly why: string }
  | { readonly kind: 'done'; readonly id: number; readonly result: unknown }
  | {
      readonly kind: 'failed';
      readonly id: number;
      readonly damaged: boolean;
      /** The program that has failed, if it was one. */
      readonly program?: string | undefined;
      readonly why: string;
    };

/** Which engines a worker has chosen. */
export interface WorkerReport {
  readonly encoder?: EncoderReport | undefined;
  /** Whether any of its engines starts programs. */
  readonly startsPrograms: boolean;
  /** For --debug: one line each. */
  readonly lines: readonly string[];
}

export interface EncoderReport {
  /** For people: `libisal -1`. */
  readonly name: string;
  /** It starts a program for each frame, so that larger frames are much cheaper. */
  readonly startsPrograms: boolean;
}

/** Bytes between the two parts of a slot, and after them: engines may read, but not write, a little past the end. */
export const slotGap = 64;
