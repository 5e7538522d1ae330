// The program of the worker threads. The build puts it, as one text, into the programs that start workers
// (worker-code.ts).
import { parentPort, workerData } from 'node:worker_threads';
import { RegionHasher } from '../format/region-hash.ts';
import { regionSizeOf } from '../format/disk-checksum.ts';
import { Engines, type Chosen, type Method } from './engines.ts';
import { FrameDamage, type FrameDecoder, type FrameEncoder } from './frame-engine.ts';
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
  readonly #hashers = new Map<string, RegionHasher>();
  #encoder: FrameEncoder | undefined;

  /** Chooses its engines. @throws Unable when this machine has none */
  prepare({ libraries, encode, decode }: WorkerSetup): WorkerReport {
    const engines = new Engines(libraries);
    const lines: string[] = [];
    const chosen = <Engine extends { readonly name: string }>(
      does: Unable['does'],
      what: string,
      choose: () => Chosen<Engine>,
    ): Engine => {
      try {
        const { engine, others } = choose();
        const reasons = others.length > 0 ? ` (not by ${others.join('; not by ')})` : '';
        lines.push(`${does} ${what}: ${engine.name}${reasons}`);
        return engine;
      } catch (error) {
        throw new Unable(does, `${what}: ${(error as Error).message}`);
      }
    };
    if (encode) {
      const { method, level } = encode;
      this.#encoder = chosen('compress', `${method}:${level}`, () =>
        engines.encoder(method, level),
      );
    }
    for (const method of decode) {
      const decoder = chosen('decompress', method, () => engines.decoder(method));
      this.#decoders.set(method, decoder);
    }
    const encoder = this.#encoder && {
      name: this.#encoder.name,
      startsPrograms: this.#encoder.startsPrograms ?? false,
    };
    return { encoder, lines };
  }

  addSlot(slot: number, { memory, rawSize }: SlotMemory): void {
    const storedAt = rawSize + slotGap;
    this.#slots.set(slot, {
      raw: Buffer.from(memory, 0, rawSize),
      stored: Buffer.from(memory, storedAt, memory.byteLength - storedAt - slotGap),
    });
  }

  carryOut(job: Job): unknown {
    switch (job.kind) {
      case 'compress':
        return this.#compress(job);
      case 'decompress':
        this.#decompress(job);
        return undefined;
      case 'hash':
        return this.#hash(job);
    }
  }

  #compress({ slot, length }: CompressJob) {
    const { raw, stored } = this.#slot(slot);
    if (!this.#encoder) throw new Error('the worker was not started to compress');
    return this.#encoder.compress(raw.subarray(0, length), stored);
  }

  #decompress({ slot, method, stored, length, crc32 }: DecompressJob): void {
    const { raw, stored: all } = this.#slot(slot);
    const decoder = this.#decoders.get(method);
    if (!decoder) throw new Error(`the worker was not started to decompress ${method}`);
    const found = decoder.decompress(all.subarray(0, stored), raw.subarray(0, length));
    if (found !== crc32) throw new FrameDamage('its CRC-32 does not match');
  }

  #hash({ slot, disk, virtualSize, parts, ended }: HashJob): Uint8Array {
    const { raw } = this.#slot(slot);
    for (let i = 0; i < parts.length; i += 4) {
      const [region = 0, offset = 0, at = 0, length = 0] = parts.subarray(i, i + 4);
      this.#hasher(disk, region, virtualSize).update(raw.subarray(at, at + length), offset);
    }
    const hashes = new Uint8Array(32 * ended.length);
    ended.forEach((region, i) => {
      hashes.set(this.#hasher(disk, region, virtualSize).digest(), 32 * i);
      this.#hashers.delete(`${disk} ${region}`);
    });
    return hashes;
  }

  #hasher(disk: number, region: number, virtualSize: number): RegionHasher {
    const key = `${disk} ${region}`;
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

function start(): void {
  const worker = new FrameWorker();
  try {
    answer({ kind: 'ready', report: worker.prepare(workerData as WorkerSetup) });
  } catch (error) {
    if (!(error instanceof Unable)) throw error;
    answer({ kind: 'unable', does: error.does, why: error.message });
    return;
  }
  parentPort?.on('message', (message: ToWorker) => {
    if (message.kind === 'slot') {
      worker.addSlot(message.slot, message.memory);
      return;
    }
    try {
      answer({ kind: 'done', id: message.id, result: worker.carryOut(message.job) });
    } catch (error) {
      const damaged = error instanceof FrameDamage;
      answer({ kind: 'failed', id: message.id, damaged, why: (error as Error).message });
    }
  });
}

start();
