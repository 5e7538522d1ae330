// The worker threads of one export, verification or restore. They compress and decompress frames and hash regions, while
// the main thread only moves bytes. Whoever started them closes them.
import type { Libraries, Method } from './engines.ts';
import type { EncodedFrame } from './frame-engine.ts';
import { SlotPool, type FrameSlot, type SlotSizes } from './frame-slot.ts';
import { koffiPlaces } from './koffi-place.ts';
import type { DecompressJob, EncoderReport, HashJob, WorkerReport } from './protocol.ts';
import { ThreadGroup } from './thread-group.ts';

export interface FrameThreadsOptions {
  /** What frames are compressed with. The level must exist. */
  readonly encode?: { readonly method: Method; readonly level: number } | undefined;
  /** What will be decompressed. */
  readonly decode?: readonly Method[];
  /** The sizes of slots, which may depend on what was chosen to compress. */
  readonly slots: (encoder: EncoderReport | undefined) => SlotSizes;
  /** Makes every call reject with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** How many threads; default: as many as there are processors, up to 8. */
  readonly threads?: number | undefined;
  /** For tests: other libraries than this machine's. */
  readonly libraries?: Partial<Libraries> | undefined;
}

const systemLibraries = { isal: 'libisal.so.2', zstd: 'libzstd.so.1' };

/** A frame in its stored form. The bytes are valid until its slot is given back. */
export interface CompressedFrame {
  readonly data: Buffer;
  /** CRC-32 of its content. */
  readonly crc32: number;
}

export class FrameThreads {
  /** What was chosen to compress. */
  readonly encoder: EncoderReport | undefined;
  /** For --debug: each choice in a line, with the reasons against better ones. */
  readonly choices: readonly string[];
  readonly slots: SlotPool;
  readonly #group: ThreadGroup;
  readonly #method: Method | undefined;

  /** @throws UsageError or FailedError when this machine has nothing that compresses or decompresses this */
  static async start(options: FrameThreadsOptions): Promise<FrameThreads> {
    const { encode, decode = [], threads, signal } = options;
    const libraries = { koffi: koffiPlaces(), ...systemLibraries, ...options.libraries };
    const group = new ThreadGroup({ libraries, encode, decode }, threads, signal);
    try {
      return new FrameThreads(group, options, await group.ready());
    } catch (error) {
      await group.close();
      throw error;
    }
  }

  private constructor(group: ThreadGroup, options: FrameThreadsOptions, report: WorkerReport) {
    this.#group = group;
    this.#method = options.encode?.method;
    this.encoder = report.encoder;
    this.choices = report.lines;
    this.slots = new SlotPool(group.size, options.slots(report.encoder), (slot) =>
      group.addSlot(slot),
    );
    group.onFailure((error) => this.slots.fail(error));
  }

  /** Compresses the first `length` bytes of the slot's content. @throws FailedError */
  async compress(slot: FrameSlot, length: number): Promise<CompressedFrame> {
    const job = { kind: 'compress', slot: slot.number, length } as const;
    const { stored, crc32 } = (await this.#group.run(job)) as EncodedFrame;
    const bytes = this.#method === 'none' ? slot.raw : slot.stored;
    return { data: bytes.subarray(0, stored), crc32 };
  }

  /** Where the bytes of a frame have to be before it is decompressed. */
  storedPlace(slot: FrameSlot, method: Method): Buffer {
    return method === 'none' ? slot.raw : slot.stored;
  }

  /**
   * Decompresses the frame in `storedPlace` into the slot's content. Other threads may do it at the same time.
   * @throws FrameDamage unless it is exactly one frame with this content; FailedError
   */
  async decompress(slot: FrameSlot, frame: Omit<DecompressJob, 'kind' | 'slot'>): Promise<void> {
    await this.#group.run({ kind: 'decompress', slot: slot.number, ...frame });
  }

  /**
   * Updates the hashes of regions with bytes of a slot, or only ends regions if there is none. Jobs with the same `thread` are carried out in the order in which
   * they are given; the hashes of a region must all be given to the same.
   * @returns the hashes of the regions that ended, one after another
   */
  async hash(
    slot: FrameSlot | undefined,
    thread: number,
    job: Omit<HashJob, 'kind' | 'slot'>,
  ): Promise<Uint8Array> {
    const hashes = await this.#group.runOn(thread, { kind: 'hash', slot: slot?.number, ...job });
    return hashes as Uint8Array;
  }

  /** How many threads there are. */
  get size(): number {
    return this.#group.size;
  }

  /** Makes everything reject that waits, and all that comes. */
  fail(error: Error): void {
    this.#group.fail(error);
  }

  /** Ends all threads; what still waits rejects. Never rejects; may be called twice. */
  close(): Promise<void> {
    return this.#group.close();
  }
}
