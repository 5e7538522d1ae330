// The program of the worker threads. The build puts it, as one text, into the programs that start workers
// (worker-code.ts).
import { parentPort, workerData } from 'node:worker_threads';
import { RegionHasher } from '../format/region-hash.ts';
import { mostRegions, regionSizeOf } from '../format/disk-checksum.ts';
import { Engines, type Chosen, type Method } from './engines.ts';
import { stopPrograms } from './program-engine.ts';
import {
  FrameDamage,
  ProgramFailure,
  type FrameDecoder,
  type FrameEncoder,
} from './frame-engine.ts';
import {
  slotGap,
  type CompressJob,
  type DecompressJob,
  type FromWorker,
  type HashJob,
  type Job,
  type SlotMemory,
  type ToWorker,
  type WorkerReport,
  type WorkerSetup,
} from './protocol.ts';

interface Slot {
  readonly raw: Buffer;
  readonly stored: Buffer;
}

/** This machine has no engine for what is asked. */
class Unable extends Error {
  readonly does: 'compress' | 'decompress';
  constructor(does: Unable['does'], message: string) {
    super(message);
    this.does = does;
  }
}

class FrameWorker {
  readonly #slots = new Map<number, Slot>();
  readonly #decoders = new Map<Method, FrameDecoder>();
  readonly #hashers = new Map<number, RegionHasher>();
  #encoder: FrameEncoder | undefined;

  /** Chooses its engines. @throws Unable when this machine has none */
  async prepare({ libraries, encode, decode }: WorkerSetup): Promise<WorkerReport> {
    const all = new Engines(libraries);
    const lines: string[] = [];
    const chosen = async <Engine extends { readonly name: string }>(
      does: Unable['does'],
      what: string,
      choose: () => Promise<Chosen<Engine>>,
    ): Promise<Engine> => {
      try {
        const { engine, others } = await choose();
        const reasons = others.length > 0 ? ` (not by ${others.join('; not by ')})` : '';
        lines.push(`${does} ${what}: ${engine.name}${reasons}`);
        return engine;
      } catch (error) {
        throw new Unable(does, `${what}: ${(error as Error).message}`);
      }
    };
    if (encode) {
      const { method, level } = encode;
      this.#encoder = await chosen('compress', `${method}:${level}`, () =>
        all.encoder(method, level),
      );
    }
    for (const method of decode) {
      const decoder = await chosen('decompress', method, () => all.decoder(method));
      this.#decoders.set(method, decoder);
    }
    const encoder = this.#encoder && {
      name: this.#encoder.name,
      startsPrograms: this.#encoder.startsPrograms ?? false,
    };
    const engines = [this.#encoder, ...this.#decoders.values()];
    const startsPrograms = engines.some((engine) => engine?.startsPrograms);
    return { encoder, startsPrograms, lines };
  }

  addSlot(slot: number, { memory, rawSize }: SlotMemory): void {
    const storedAt = rawSize + slotGap;
    this.#slots.set(slot, {
      raw: Buffer.from(memory, 0, rawSize),
      stored: Buffer.from(memory, storedAt, memory.byteLength - storedAt - slotGap),
    });
  }

  async carryOut(job: Job): Promise<unknown> {
    switch (job.kind) {
      case 'compress':
        return this.#compress(job);
      case 'decompress':
        return this.#decompress(job);
      case 'hash':
        return this.#hash(job);
    }
  }

  #compress({ slot, length }: CompressJob) {
    const { raw, stored } = this.#slot(slot);
    if (!this.#encoder) throw new Error('the worker was not started to compress');
    return this.#encoder.compress(raw.subarray(0, length), stored);
  }

  async #decompress({ slot, method, stored, length, crc32 }: DecompressJob): Promise<void> {
    const { raw, stored: all } = this.#slot(slot);
    const decoder = this.#decoders.get(method);
    if (!decoder) throw new Error(`the worker was not started to decompress ${method}`);
    const found = await decoder.decompress(all.subarray(0, stored), raw.subarray(0, length));
    if (found !== crc32) throw new FrameDamage('its CRC-32 does not match');
  }

  #hash({ slot, disk, virtualSize, parts, ended }: HashJob): Uint8Array {
    const raw = slot === undefined ? undefined : this.#slot(slot).raw;
    for (let i = 0; i < parts.length; i += 4) {
      const at = parts[i + 2] ?? 0;
      const data = raw?.subarray(at, at + (parts[i + 3] ?? 0));
      if (!data) throw new Error('parts without a slot');
      this.#hasher(disk, parts[i] ?? 0, virtualSize).update(data, parts[i + 1] ?? 0);
    }
    const hashes = new Uint8Array(32 * ended.length);
    ended.forEach((region, i) => {
      hashes.set(this.#hasher(disk, region, virtualSize).digest(), 32 * i);
      this.#hashers.delete(disk * mostRegions + region);
    });
    return hashes;
  }

  #hasher(disk: number, region: number, virtualSize: number): RegionHasher {
    const key = disk * mostRegions + region;
    let hasher = this.#hashers.get(key);
    if (!hasher) {
      const regionSize = regionSizeOf(virtualSize);
      hasher = new RegionHasher(Math.min(regionSize, virtualSize - region * regionSize));
      this.#hashers.set(key, hasher);
    }
    return hasher;
  }

  #slot(number: number): Slot {
    const slot = this.#slots.get(number);
    if (!slot) throw new Error(`there is no slot ${number}`);
    return slot;
  }
}

function answer(message: FromWorker): void {
  parentPort?.postMessage(message);
}

async function start(): Promise<void> {
  const worker = new FrameWorker();
  let isReady: () => void = () => undefined;
  let last = new Promise<void>((resolve) => (isReady = resolve));
  parentPort?.on('message', (message: ToWorker) => {
    if (message.kind === 'stop') void stopPrograms().then(() => parentPort?.close());
    // One job after another: they share an engine.
    else last = last.then(() => receive(worker, message));
  });
  try {
    answer({ kind: 'ready', report: await worker.prepare(workerData as WorkerSetup) });
  } catch (error) {
    if (!(error instanceof Unable)) throw error;
    answer({ kind: 'unable', does: error.does, why: error.message });
    return;
  }
  isReady();
}

async function receive(
  worker: FrameWorker,
  message: Exclude<ToWorker, { kind: 'stop' }>,
): Promise<void> {
  if (message.kind === 'slot') {
    worker.addSlot(message.slot, message.memory);
    return;
  }
  const { id, job } = message;
  try {
    answer({ kind: 'done', id, result: await worker.carryOut(job) });
  } catch (error) {
    const damaged = error instanceof FrameDamage;
    const program = error instanceof ProgramFailure ? error.program : undefined;
    answer({ kind: 'failed', id, damaged, program, why: (error as Error).message });
  }
}

void start();
