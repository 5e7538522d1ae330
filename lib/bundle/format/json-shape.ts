// Checks that JSON from outside has the expected shape. A check throws BundleError that names the place.
import { BundleError } from '../../report/errors.ts';

/** Is told, in words, what is wrong with a fact that is left out. */
export type Drop = (reason: string) => void;

/** Throws when `value`, found at `place`, is not what it must be. Without `drop`, facts too must be right. */
export type Check = (value: unknown, place: string, drop?: Drop) => void;

/** A field that may be missing, and is removed when it is wrong: nothing else depends on it. */
export interface Fact {
  readonly fact: Check;
}

export function fact(check: Check): Fact {
  return { fact: check };
}

/** UTF-16 code units; a manifest with a longer text is refused. */
export const longestText = 64 * 1024;

/** The error for a value; the value itself, which is hostile, is not shown. */
export function wrong(place: string, expected: string): BundleError {
  return new BundleError(`manifest.json: ${place} is not ${expected}`);
}

export const text: Check = (value, place) => {
  if (typeof value !== 'string' || value.length > longestText) throw wrong(place, 'a text');
};

export const truth: Check = (value, place) => {
  if (typeof value !== 'boolean') throw wrong(place, 'true or false');
};

/** An ISO 8601 time. */
export const time: Check = (value, place) => {
  if (typeof value === 'string' && value.length < 40 && !Number.isNaN(Date.parse(value))) return;
  throw wrong(place, 'a time');
};

/** An integer from 0 to 2^53 - 1, or up to `most`. */
export function count(most = Number.MAX_SAFE_INTEGER): Check {
  return (value, place) => {
    if (Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= most) return;
    throw wrong(place, `a whole number from 0 to ${most}`);
  };
}

export function oneOf(...allowed: readonly unknown[]): Check {
  return (value, place) => {
    if (!allowed.includes(value)) throw wrong(place, allowed.map(String).join(' or '));
  };
}

export function optional(check: Check): Check {
  return (value, place, drop) => {
    if (value !== undefined) check(value, place, drop);
  };
}

/** @param most how many items it may have */
export function list(check: Check, most: number): Check {
  return (value, place, drop) => {
    if (!Array.isArray(value)) throw wrong(place, 'a list');
    if (value.length > most) throw wrong(place, `a list of at most ${most}`);
    for (const [index, item] of value.entries()) check(item, `${place}[${index}]`, drop);
  };
}

/** An object with these fields; others are ignored. */
export function shape(fields: Readonly<Record<string, Check | Fact>>): Check {
  return (value, place, drop) => {
    const object = asObject(value, place);
    for (const [name, check] of Object.entries(fields)) {
      const there = place === '' ? name : `${place}.${name}`;
      if (typeof check !== 'function') checkFact(object, name, check, there, drop);
      else check(Object.hasOwn(object, name) ? object[name] : undefined, there, drop);
    }
  };
}

/** An object with any names, whose values are all alike; each is a fact of its own. */
export function dictionary(check: Check): Check {
  return (value, place, drop) => {
    const object = asObject(value, place);
    for (const name of Object.keys(object)) {
      checkFact(object, name, fact(check), `an entry of ${place}`, drop);
    }
  };
}

function checkFact(
  object: Record<string, unknown>,
  name: string,
  { fact: check }: Fact,
  place: string,
  drop: Drop | undefined,
): void {
  if (!Object.hasOwn(object, name) || object[name] === undefined) return;
  try {
    check(object[name], place, drop);
  } catch (error) {
    if (!drop || !(error instanceof BundleError)) throw error;
    drop(error.message);
    Reflect.deleteProperty(object, name);
  }
}

function asObject(value: unknown, place: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw wrong(place === '' ? 'the whole' : place, 'an object');
}
