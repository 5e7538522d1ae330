// Checks that JSON from outside has the expected shape. A check throws BundleError that names the place.
import { BundleError } from '../report/errors.ts';

/** Throws when `value`, found at `place`, is not what it must be. */
export type Check = (value: unknown, place: string) => void;

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
  return (value, place) => {
    if (value !== undefined) check(value, place);
  };
}

export function list(check: Check): Check {
  return (value, place) => {
    if (!Array.isArray(value)) throw wrong(place, 'a list');
    for (const [index, item] of value.entries()) check(item, `${place}[${index}]`);
  };
}

/** An object with these fields; others are ignored. */
export function shape(fields: Readonly<Record<string, Check>>): Check {
  return (value, place) => {
    const object = asObject(value, place);
    for (const [name, check] of Object.entries(fields)) {
      check(
        Object.hasOwn(object, name) ? object[name] : undefined,
        place === '' ? name : `${place}.${name}`,
      );
    }
  };
}

/** An object with any names, whose values are all alike. */
export function dictionary(check: Check): Check {
  return (value, place) => {
    for (const item of Object.values(asObject(value, place))) check(item, `an entry of ${place}`);
  };
}

function asObject(value: unknown, place: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw wrong(place === '' ? 'the whole' : place, 'an object');
}
