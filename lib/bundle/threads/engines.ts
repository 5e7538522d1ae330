// Chooses what compresses and decompresses frames in a worker: the best that this machine has.
// docs/decisions/0012-frame-engines.md has the speeds behind the order. An engine that is chosen has proved with a known block that it works.
import { crc32 as crc32OfZlib } from 'node:zlib';
import { ForeignLibrary } from './ffi.ts';
import type { FrameDecoder, FrameEncoder } from './frame-engine.ts';
import { isalCrc32, isalDecoder, isalEncoder, isalLevels } from './isal.ts';
import { libzstdDecoder, libzstdEncoder } from './libzstd.ts';
import { nodeGzipDecoder, nodeGzipEncoder, nodeGzipLevels } from './node-gzip.ts';
import { nodeZstdDecoder, nodeZstdEncoder } from './node-zstd.ts';
import { igzipEncoder, zstdProgramDecoder, zstdProgramEncoder } from './program-engine.ts';
import { noDecoder, noEncoder } from './no-compression.ts';
import { requireCrc32, requireDecodes, requireEncodes } from './self-test.ts';

/** What this machine may have. Tests name others. */
export interface Libraries {
  /** Where koffi may be, as absolute paths. */
  readonly koffi: readonly string[];
  readonly isal: string;
  readonly zstd: string;
}

export interface Chosen<Engine> {
  readonly engine: Engine;
  /** Why better ones were not chosen, one sentence each. */
  readonly others: readonly string[];
}

type Packed = 'gzip' | 'zstd';
export type Method = Packed | 'none';

/** One way to do it; `make` throws an Error that says why this machine has not got it. */
interface Candidate<Engine> {
  readonly name: string;
  readonly make: () => Engine;
}

type Crc32 = (data: Buffer) => number;

/** The engines of this machine. Each is made, and tested, when it is asked for. */
export class Engines {
  readonly #libraries: Libraries;
  /** CRC-32 by the fastest way there is. */
  readonly #crc32: Crc32;

  constructor(libraries: Libraries) {
    this.#libraries = libraries;
    this.#crc32 = this.#fastestCrc32();
  }

  /** @throws Error with the reasons when this machine has nothing that compresses so */
  async encoder(method: Method, level: number): Promise<Chosen<FrameEncoder>> {
    if (method === 'none') return { engine: noEncoder(this.#crc32), others: [] };
    // zlib judges all others.
    const judge = method === 'gzip' ? nodeGzipDecoder : (await this.decoder(method)).engine;
    return firstThatWorks(this.#encoders(method, level), (engine) => requireEncodes(engine, judge));
  }

  /** @throws Error with the reasons when this machine has nothing that decompresses it */
  async decoder(method: Method): Promise<Chosen<FrameDecoder>> {
    if (method === 'none') return { engine: noDecoder(this.#crc32), others: [] };
    return firstThatWorks(this.#decoders(method), (engine) => requireDecodes(engine, method));
  }

  #encoders(method: Packed, level: number): readonly Candidate<FrameEncoder>[] {
    if (method === 'gzip') {
      const isal = { name: 'libisal', make: () => isalEncoder(this.#isal(), level) };
      const igzip = { name: 'the program igzip', make: () => igzipEncoder(level) };
      const zlib = { name: 'zlib', make: () => nodeGzipEncoder(level) };
      return [
        ...(within(isalLevels, level) ? [isal, igzip] : []),
        ...(within(nodeGzipLevels, level) ? [zlib] : []),
      ];
    }
    return [
      { name: 'libzstd', make: () => libzstdEncoder(this.#zstd(), level, this.#crc32) },
      { name: 'zstd of Node.js', make: () => nodeZstdEncoder(level, this.#crc32) },
      { name: 'the program zstd', make: () => zstdProgramEncoder(level, this.#crc32) },
    ];
  }

  #decoders(method: Packed): readonly Candidate<FrameDecoder>[] {
    if (method === 'gzip') {
      return [
        { name: 'libisal', make: () => isalDecoder(this.#isal()) },
        { name: 'zlib', make: () => nodeGzipDecoder },
      ];
    }
    return [
      { name: 'libzstd', make: () => libzstdDecoder(this.#zstd(), this.#crc32) },
      { name: 'zstd of Node.js', make: () => nodeZstdDecoder(this.#crc32) },
      { name: 'the program zstd', make: () => zstdProgramDecoder(this.#crc32) },
    ];
  }

  #isal(): ForeignLibrary {
    return new ForeignLibrary(this.#libraries.koffi, this.#libraries.isal);
  }

  #zstd(): ForeignLibrary {
    return new ForeignLibrary(this.#libraries.koffi, this.#libraries.zstd);
  }

  #fastestCrc32(): Crc32 {
    try {
      const crc32 = isalCrc32(this.#isal());
      requireCrc32(crc32);
      return crc32;
    } catch {
      return (data) => crc32OfZlib(data);
    }
  }
}

async function firstThatWorks<Engine>(
  candidates: readonly Candidate<Engine>[],
  test: (engine: Engine) => Promise<void>,
): Promise<Chosen<Engine>> {
  const others: string[] = [];
  for (const { name, make } of candidates) {
    try {
      const engine = make();
      await test(engine);
      return { engine, others };
    } catch (error) {
      others.push(`${name}: ${(error as Error).message}`);
    }
  }
  throw new Error(others.join('; '));
}

function within({ lowest, highest }: { lowest: number; highest: number }, level: number): boolean {
  return level >= lowest && level <= highest;
}
