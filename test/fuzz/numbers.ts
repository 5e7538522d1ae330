// Numbers that are wrong in interesting ways, for binary fields and for texts.
import type { Chance } from './mutations.ts';

const powers = [7, 8, 9, 12, 15, 16, 20, 21, 24, 31, 32, 40, 52, 53, 54, 62, 63, 64];
const edges: readonly bigint[] = [
  ...[0n, 1n, 2n, 3n, 4n, 7n, 16n, 100n, 511n, 512n, 513n, 1000n],
  ...powers.flatMap((bits) => [2n ** BigInt(bits) - 1n, 2n ** BigInt(bits), 2n ** BigInt(bits) + 1n]),
]; // prettier-ignore

/** A number near `old`, at an edge of some type, or any. */
export function otherNumber(old: bigint, chance: Chance): bigint {
  switch (chance.below(6)) {
    case 0:
      return old + BigInt(chance.of([1, -1, 2, -2, 8, 512, -512, 4096, 65_536]));
    case 1:
      return chance.below(2) === 0 ? old * 2n : old / 2n;
    case 2:
      return old ^ (1n << BigInt(chance.below(64)));
    case 3:
      return BigInt(chance.below(2 ** 31));
    default:
      return chance.of(edges);
  }
}

/** A number in a file. */
export interface Field {
  readonly offset: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

/** Writes another number into a field, as far as the buffer has it. */
export function changeField(
  target: Buffer,
  { offset, bytes }: Field,
  endian: 'big' | 'little',
  chance: Chance,
): void {
  if (offset + bytes > target.length) return;
  const part = target.subarray(offset, offset + bytes);
  const digits = endian === 'big' ? part : Buffer.from(part).reverse();
  const old = BigInt(`0x${digits.toString('hex') || '0'}`);
  const value = BigInt.asUintN(bytes * 8, otherNumber(old, chance));
  const hex = Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex');
  part.set(endian === 'big' ? hex : hex.reverse());
}

const texts = [
  ...['-1', '-0', '+1', '0x10', '1e3', '1.5', '00', '007', ' 1', '1 ', '1_000', 'NaN', 'Infinity'],
  ...['99999999999999999999', '1e400', '\u0661', '', '.', '-'],
];

/** What might stand where a text has the number `old`. */
export function otherDigits(old: string, chance: Chance): string {
  if (chance.below(3) === 0) return chance.of(texts);
  const known = /^\d{1,30}$/.test(old) ? BigInt(old) : 0n;
  return otherNumber(known, chance).toString();
}
