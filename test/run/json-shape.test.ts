import { describe, expect, test } from '@jest/globals';
import {
  dictionary,
  fact,
  list,
  object,
  optional,
  pair,
  variants,
} from '../../lib/run/json-object.ts';
import {
  count,
  matching,
  oneOf,
  parseShape,
  readShape,
  text,
  textUpTo,
  time,
  truth,
  type Infer,
  type Shape,
} from '../../lib/run/json-shape.ts';

const fail = (why: string) => new RangeError(`the thing: ${why}`);
const read = <T>(shape: Shape<T>, value: unknown): T => readShape(shape, value, fail);

/** True when both types are the same; otherwise the assignments below do not compile. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- X is what makes TypeScript compare them.
type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false; // prettier-ignore

const machine = object({
  id: count(999),
  name: text,
  kind: oneOf('small', 'large'),
  note: fact(text),
  parts: optional(list(object({ size: count() }), 2)),
});

describe('the type of a shape', () => {
  test('the type of a shape is that of the values it reads', () => {
    type Expected = {
      readonly id: number;
      readonly name: string;
      readonly kind: 'small' | 'large';
      readonly note?: string;
      readonly parts?: readonly { readonly size: number }[];
    };
    const isSame: Same<Infer<typeof machine>, Expected> = true;
    expect(isSame).toBe(true);
  });
});

describe('a value that is read by a shape', () => {
  const sound = { id: 1, name: 'a', kind: 'small' };

  test('a value that is read by a shape has the fields that the shape knows, and no others', () => {
    const value = { ...sound, note: 'x', parts: [{ size: 2, more: 3 }], more: 4 };
    expect(read(machine, value)).toEqual({ ...sound, note: 'x', parts: [{ size: 2 }] });
    expect(value.more).toBe(4);
  });

  test.each([
    ['another type', [], 'the whole is not an object'],
    ['nothing', undefined, 'the whole is not an object'],
    ['a field that is missing', { id: 1, kind: 'small' }, 'name is not a text'],
    ['a number that is too large', { ...sound, id: 1000 }, 'id is not a whole number from 0 to 999'],
    ['a number that is not whole', { ...sound, id: 0.5 }, 'id is not a whole number from 0 to 999'],
    ['a number below zero', { ...sound, id: -1 }, 'id is not a whole number from 0 to 999'],
    ['a number as a text', { ...sound, id: '1' }, 'id is not a whole number from 0 to 999'],
    ['an unknown word', { ...sound, kind: 'huge' }, 'kind is not small or large'],
    ['a long list', { ...sound, parts: [1, 2, 3] }, 'parts is not a list of at most 2'],
    ['a list that is none', { ...sound, parts: {} }, 'parts is not a list'],
    ['an optional field that is null', { ...sound, parts: null }, 'parts is not a list'],
    ['a fault far inside', { ...sound, parts: [{ size: 1 }, {}] }, 'parts[1].size is not a whole number from 0 to 9007199254740991'],
    ['a field of its prototype only', Object.create(sound), 'id is not a whole number from 0 to 999'],
    ['a long text', { ...sound, name: 'x'.repeat(65_537) }, 'name is not a text'],
  ])('a value that is read by a shape is refused for %s, with the place and what was expected', (_what, value: unknown, why) => {
    expect(() => read(machine, value)).toThrow(new RangeError(`the thing: ${why}`));
  }); // prettier-ignore

  test('a value that is read by a shape loses a fact that is wrong when somebody is told, and is refused when nobody is', () => {
    const dropped: string[] = [];
    const value = { ...sound, note: 5 };
    expect(readShape(machine, value, fail, (why) => dropped.push(why))).toEqual(sound);
    expect(dropped).toEqual(['note is not a text']);
    expect(() => read(machine, value)).toThrow('note is not a text');
  });

  test('a value that is read by a shape loses no field that is optional but no fact', () => {
    const value = { ...sound, parts: 5 };
    expect(() => readShape(machine, value, fail, () => undefined)).toThrow('parts is not a list');
  });

  test('a value that is read by a shape is refused with the error of a bug when a shape has one', () => {
    const broken: Shape<string> = () => {
      throw new TypeError('a bug');
    };
    const shape = object({ a: fact(broken) });
    expect(() => readShape(shape, { a: 1 }, fail, () => undefined)).toThrow(TypeError);
  });
});

describe('single shapes', () => {
  test.each<[string, Shape<unknown>, unknown, unknown]>([
    ['a truth', truth, false, 'false'],
    ['a time', time, '2026-01-02T03:04:05.678Z', 'yesterday'],
    ['a matching text', matching(/^[a-f]+$/, 'hex'), 'abc', 'abz'],
    ['a short text', textUpTo(2), 'ab', 'abc'],
    ['a pair', pair(count(), text), [1, 'a'], [1, 'a', 2]],
    ['the first of a pair', pair(count(), text), [1, 'a'], ['a', 'a']],
    ['a word of numbers', oneOf(512, 1024), 512, 513],
  ])('single shapes take %s and refuse another', (_name, shape, right, wrong) => {
    expect(read(shape, right)).toEqual(right);
    expect(() => read(shape, wrong)).toThrow(/^the thing: (?:the whole|\[0\]) is not /);
  });

  test('a shape of variants says which words there are, and checks the fields of the word that is given', () => {
    const shape = variants('kind', { file: object({ path: text }), none: object({}) });
    type Expected = { readonly kind: 'file'; readonly path: string } | { readonly kind: 'none' };
    const isSame: Same<Infer<typeof shape>, Expected> = true;
    expect(isSame).toBe(true);
    expect(read(shape, { kind: 'file', path: '/a', more: 1 })).toEqual({
      kind: 'file',
      path: '/a',
    });
    expect(() => read(shape, { kind: 'toString' })).toThrow('kind is not file or none');
    expect(() => read(shape, { kind: 'file' })).toThrow('path is not a text');
  });

  test('a shape of a dictionary drops single entries, whatever their names', () => {
    const value: unknown = JSON.parse('{"a":"1","__proto__":"2","b":3}');
    const dropped: string[] = [];
    const kept = readShape(dictionary(text), value, fail, (why) => dropped.push(why));
    expect(Object.entries(kept)).toEqual([
      ['a', '1'],
      ['__proto__', '2'],
    ]);
    expect(dropped).toHaveLength(1);
    expect(({} as Record<string, unknown>)['2']).toBeUndefined();
  });
});

describe('text that is read by a shape', () => {
  test('text that is read by a shape is refused without being quoted when it is not JSON', () => {
    expect(() => parseShape(machine, '{"id": secret', fail)).toThrow(
      new RangeError('the thing: it is not JSON'),
    );
  });

  test('text that is read by a shape is read like a value', () => {
    expect(parseShape(list(count(), 3), '[1,2]', fail)).toEqual([1, 2]);
  });
});
