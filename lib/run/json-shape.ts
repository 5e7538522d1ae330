// What JSON from outside must look like: a manifest, the output of a program, a file in the state folder. A shape is
// both the check and the type (`Infer`), so the two cannot differ. It lies in lib/run because everything that reads JSON
// lies above, and most of that JSON is what programs print.

/** Is told, in words, what is wrong with a fact that is left out. */
export type Drop = (reason: string) => void;

/**
 * Reads `value`, found at `place`. Returns a new value with the fields that the shape knows, and no others; throws when
 * something is wrong. Without `drop` a wrong fact is an error too.
 */
export type Shape<T> = (value: unknown, place: string, drop?: Drop) => T;

/** The type of what a shape reads. */
export type Infer<S> = S extends Shape<infer T> ? T : never;

/** A field that may be missing. A fact is also left out when it is wrong, since nothing else depends on it. */
export interface Optional<T> {
  readonly optional: Shape<T>;
  readonly isFact: boolean;
}

type Field = Shape<unknown> | Optional<unknown>;
type Fields = Readonly<Record<string, Field>>;
type Flat<T> = { [K in keyof T]: T[K] };
type ObjectOf<F extends Fields> = Flat<
  {
    readonly [K in keyof F as F[K] extends Shape<unknown> ? K : never]: Infer<F[K]>;
  } & {
    readonly [K in keyof F as F[K] extends Shape<unknown> ? never : K]?: F[K] extends Optional<
      infer T
    >
      ? T
      : never;
  }
>;
/** One object type for each word, with the word under `Key`. */
type VariantsOf<Key extends string, V extends Readonly<Record<string, Shape<object>>>> = {
  [Word in keyof V]: Flat<Readonly<Record<Key, Word>> & Infer<V[Word]>>;
}[keyof V];

/** Says where something is wrong, and what was expected there; the value itself may be hostile and is not shown. */
class ShapeError extends Error {
  constructor(place: string, expected: string) {
    super(`${place === '' ? 'the whole' : place} is not ${expected}`);
  }
}

/**
 * Reads a value by its shape.
 * @param fail makes the error of `why`: `disks[0].id is not a whole number from 0 to 9`
 * @param drop is told of each fact that is wrong, which is then left out; without it such a fact is an error
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

/** What `read` makes of a value; undefined when the value is not what is expected. */
export function made<T>(expected: string, read: (value: unknown) => T | undefined): Shape<T> {
  return (value, place) => {
    const result = read(value);
    if (result === undefined) throw new ShapeError(place, expected);
    return result;
  };
}

/** Any JSON that is there at all: whoever uses it reads it by a shape of its own. */
export const anything = made<unknown>('there', (value) => value);

/** UTF-16 code units of a text, where nothing else is said. */
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

export function optional<T>(shape: Shape<T>): Optional<T> {
  return { optional: shape, isFact: false };
}

export function fact<T>(shape: Shape<T>): Optional<T> {
  return { optional: shape, isFact: true };
}

/** @param most how many items it may have; leave it out only where the whole text is limited, as a program's output is */
export function list<T>(shape: Shape<T>, most = Infinity): Shape<readonly T[]> {
  return (value, place, drop) => {
    if (!Array.isArray(value)) throw new ShapeError(place, 'a list');
    if (value.length > most) throw new ShapeError(place, `a list of at most ${most}`);
    return value.map((item: unknown, index) => shape(item, `${place}[${index}]`, drop));
  };
}

/** A list of two. */
export function pair<A, B>(first: Shape<A>, second: Shape<B>): Shape<readonly [A, B]> {
  return (value, place, drop) => {
    if (!Array.isArray(value) || value.length !== 2) throw new ShapeError(place, 'a list of two');
    return [first(value[0], `${place}[0]`, drop), second(value[1], `${place}[1]`, drop)];
  };
}

/** An object with these fields; others are ignored. */
export function object<const F extends Fields>(fields: F): Shape<ObjectOf<F>> {
  const known = Object.entries<Field>(fields);
  return (value, place, drop) => {
    const given = asObject(value, place);
    const read: Record<string, unknown> = {};
    for (const [name, field] of known) {
      const there = place === '' ? name : `${place}.${name}`;
      const found = Object.hasOwn(given, name) ? given[name] : undefined;
      if (typeof field === 'function') {
        read[name] = field(found, there, drop);
      } else if (found !== undefined) {
        const kept = orDropped(field, found, there, drop);
        if (kept !== undefined) read[name] = kept;
      }
    }
    // Each field was read by its own shape: what `ObjectOf` says.
    return read as ObjectOf<F>;
  };
}

/** An object whose field `key` is a word that decides which shape the other fields have. */
export function variants<
  const Key extends string,
  const V extends Readonly<Record<string, Shape<object>>>,
>(key: Key, shapes: V): Shape<VariantsOf<Key, V>> {
  const word = object({ [key]: oneOf(...Object.keys(shapes)) });
  return (value, place, drop) => {
    const found = Object.values<unknown>(word(value, place))[0];
    const shape = shapes[String(found)];
    if (!shape) throw new ShapeError(place, Object.keys(shapes).join(' or '));
    return { [key]: found, ...shape(value, place, drop) } as VariantsOf<Key, V>;
  };
}

/** An object with any names, whose values are all alike; each is a fact of its own. */
export function dictionary<T>(shape: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return (value, place, drop) => {
    const entries = Object.entries(asObject(value, place)).flatMap(([name, found]) => {
      const kept = orDropped(fact(shape), found, `an entry of ${place}`, drop);
      return kept === undefined ? [] : [[name, kept] as const];
    });
    return Object.fromEntries(entries);
  };
}

/** Undefined for a fact that is wrong. */
function orDropped<T>(
  { optional: shape, isFact }: Optional<T>,
  value: unknown,
  place: string,
  drop: Drop | undefined,
): T | undefined {
  try {
    return shape(value, place, drop);
  } catch (error) {
    if (!isFact || !drop || !(error instanceof ShapeError)) throw error;
    drop(error.message);
    return undefined;
  }
}

function asObject(value: unknown, place: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new ShapeError(place, 'an object');
}
