// Changes to the bytes of a bundle, the same ones for the same seed.
import { noise } from '../support/write-bundle.ts';

/** Numbers that look like any. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
    for (let n = 0; n < 8; n++) this.below(2);
  }

  /** A whole number from 0, below `limit`. */
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return Math.floor(((this.#state >>> 0) / 2 ** 32) * limit);
  }

  of<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to choose from');
    return item;
  }
}

type Mutation = (bytes: Buffer, at: number, chance: Chance) => Buffer;

/** Overwrites from `at` on, as far as there is something. */
function put(bytes: Buffer, at: number, data: Uint8Array): Buffer {
  const changed = Buffer.from(bytes);
  changed.set(data.subarray(0, changed.length - at), at);
  return changed;
}

const lengths = [1, 2, 4, 7, 16, 100, 512, 4096, 70_000];

const mutations: Readonly<Record<string, Mutation>> = {
  bit: (bytes, at, chance) => put(bytes, at, Buffer.from([(bytes[at] ?? 0) ^ (1 << chance.below(8))])),
  byte: (bytes, at, chance) => put(bytes, at, Buffer.from([chance.of([0, 1, 0x30, 0x7f, 0x80, 0xff])])),
  zeros: (bytes, at, chance) => put(bytes, at, Buffer.alloc(chance.of(lengths))),
  ones: (bytes, at, chance) => put(bytes, at, Buffer.alloc(chance.of(lengths), 0xff)),
  noise: (bytes, at, chance) => put(bytes, at, noise(chance.of(lengths), chance.below(1e9))),
  digits: (bytes, at, chance) => put(bytes, at, Buffer.alloc(chance.of([1, 2, 8, 12]), '9')),
  cut: (bytes, at) => bytes.subarray(0, at),
  remove: (bytes, at, chance) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + chance.of(lengths))]),
  insert: (bytes, at, chance) => Buffer.concat([bytes.subarray(0, at), noise(chance.of(lengths), 1 + at), bytes.subarray(at)]),
  repeat: (bytes, at, chance) => Buffer.concat([bytes.subarray(0, at + chance.of(lengths)), bytes.subarray(at)]),
  move: (bytes, at, chance) => put(bytes, at, bytes.subarray(chance.below(bytes.length)).subarray(0, chance.of(lengths))),
  extend: (bytes, _at, chance) => Buffer.concat([bytes, chance.of([Buffer.alloc(1000), noise(50), bytes])]),
}; // prettier-ignore

/** One to four changes; often where it matters: near the start, the end, or a multiple of 512. */
export function mutate(bytes: Buffer, chance: Chance): Buffer {
  let changed = bytes;
  const times = chance.of([1, 1, 1, 2, 4]);
  for (let n = 0; n < times; n++) {
    const size = Math.max(1, changed.length);
    const near = chance.below(Math.min(size, 1024));
    const at = chance.of([chance.below(size), near, size - 1 - near, chance.below(size) & ~511]);
    changed = chance.of(Object.values(mutations))(changed, at, chance);
  }
  return changed;
}
