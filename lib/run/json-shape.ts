// Shapes say what JSON from outside must look like: a manifest, the output of a program, a file in the state folder. A
// shape is both the check and the type (`Infer`), so the two cannot differ. json-object.ts has the shapes of lists and
// objects. Shapes are in lib/run because every room that reads JSON is above it, and most of that JSON is the output of
// programs.

/** Called with what is wrong with a fact that is left out, in words. */
export type Drop = (reason: string) => void;

/**
 * Reads `value`, found at `place`. Returns a new value that has only the fields that the shape knows; throws when
 * something is wrong. Without `drop`, a wrong fact is also an error.
 */
export type Shape<T> = (value: unknown, place: string, drop?: Drop) => T;

/** The type of what a shape reads. */
export type Infer<S> = S extends Shape<infer T> ? T : never;

/** Says where something is wrong, and what was expected there. It does not show the value, which may be hostile. */
export class ShapeError extends Error {
  constructor(place: string, expected: string) {
    super(`${place === '' ? 'the whole' : place} is not ${expected}`);
  }
}

/**
 * Reads a value by its shape.
 * @param fail makes the error of `why`: `disks[0].id is not a whole number from 0 to 9`
 * @param drop called for each fact that is wrong, which is then left out; without it, such a fact is an error
 */
export function readShape<T>(
  shape: Shape<T>,
  value: unknown,
  fail: (why: string) => Error,
  drop?: Drop,
): T {
  try {
    return shape(value, '', drop);
  } catch (error) {
    throw error instanceof ShapeError ? fail(error.message) : error;
  }
}

/** Reads JSON text by its shape, as `readShape` does. @param fail makes the error, also for text that is not JSON */
export function parseShape<T>(
  shape: Shape<T>,
  json: string,
  fail: (why: string) => Error,
  drop?: Drop,
): T {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // The parser's message quotes the text, which may be hostile.
    throw fail('it is not JSON');
  }
  return readShape(shape, value, fail, drop);
}

/** The shape of what `read` returns for a value; it returns undefined if the value is not what is expected. */
export function made<T>(expected: string, read: (value: unknown) => T | undefined): Shape<T> {
  return (value, place) => {
    const result = read(value);
    if (result === undefined) throw new ShapeError(place, expected);
    return result;
  };
}

/** Any JSON value: whoever uses it reads it by another shape. */
export const anything = made<unknown>('there', (value) => value);

/** The most UTF-16 code units of a text, if its shape has no other limit. */
export const longestText = 64 * 1024;

/** @param most UTF-16 code units */
export function textUpTo(most: number): Shape<string> {
  return made('a text', (value) =>
    typeof value === 'string' && value.length <= most ? value : undefined,
  );
}

export const text = textUpTo(longestText);

/** @param expected what such a text is, for messages */
export function matching(pattern: RegExp, expected: string): Shape<string> {
  return made(expected, (value) =>
    typeof value === 'string' && pattern.test(value) ? value : undefined,
  );
}

export const truth = made('true or false', (value) =>
  typeof value === 'boolean' ? value : undefined,
);

/** An ISO 8601 time. */
export const time = made('a time', (value) =>
  typeof value === 'string' && value.length < 40 && !Number.isNaN(Date.parse(value))
    ? value
    : undefined,
);

/** An integer from 0 to 2^53 - 1, or up to `most`. */
export function count(most = Number.MAX_SAFE_INTEGER): Shape<number> {
  return made(`a whole number from 0 to ${most}`, (value) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most
      ? value
      : undefined,
  );
}

export function oneOf<const T extends string | number | boolean>(
  ...allowed: readonly T[]
): Shape<T> {
  return made(allowed.map(String).join(' or '), (value) => allowed.find((one) => one === value));
}
