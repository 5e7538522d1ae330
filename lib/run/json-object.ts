// Shapes of lists and objects, made of the shapes of their parts. json-shape.ts says what a shape is.
import { oneOf, ShapeError, type Drop, type Infer, type Shape } from './json-shape.ts';

/** A field that may be missing. A fact is also left out when it is wrong, because nothing else depends on it. */
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

export function optional<T>(shape: Shape<T>): Optional<T> {
  return { optional: shape, isFact: false };
}

export function fact<T>(shape: Shape<T>): Optional<T> {
  return { optional: shape, isFact: true };
}

/** @param most how many items it may have; only left out if the whole text is limited, as the output of a program is */
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
    // Each field was read by its own shape, which is what `ObjectOf` says.
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

/** An object with any names. All values have the same shape, and each is a fact. */
export function dictionary<T>(shape: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return (value, place, drop) => {
    const entries = Object.entries(asObject(value, place)).flatMap(([name, found]) => {
      const kept = orDropped(fact(shape), found, `an entry of ${place}`, drop);
      return kept === undefined ? [] : [[name, kept] as const];
    });
    return Object.fromEntries(entries);
  };
}

/** Reads a field; undefined for a fact that is wrong. */
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
