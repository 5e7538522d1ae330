// Changes to texts that respect their structure: words, numbers and marks; elements of XML; values of JSON.
import { mutate, type Chance } from './mutations.ts';
import { otherDigits } from './numbers.ts';

const oddities = [
  ...['<![CDATA[', ']]>', '<!--', '-->', '<?xml version="1.0"?>', '<!DOCTYPE x>', '&amp;', '&#0;', '&#x10FFFF;'],
  ...['&#55296;', '&x;', '<a/>', '</VM>', '<VM>', '"', "'", '\\', '\\u0000', '\\ud800', '{}', '[]', 'null', 'true'],
  ...['__proto__', 'constructor', 'toString', 'length', '../', '/', '//', '\0', '\n', '\r\n', '\r', '\t', ' ', '\u00a0'],
  ...['\ufeff', '\u2028', '\u202e', '\u{1f600}', '\ufffe', '$(id)', '`id`', ';', '|', '-', '--', ':', '@', '=', '#', '%s', '*'],
  ...['x'.repeat(300), 'x'.repeat(70_000), '9'.repeat(400), '\u00e9'.repeat(3000)],
]; // prettier-ignore

/** Bytes as they are, one character each, so that any bytes survive. */
const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');
const odd = (chance: Chance): string => Buffer.from(chance.of(oddities)).toString('latin1');

type TokenChange = (tokens: string[], at: number, chance: Chance) => void;

const tokenChanges: readonly TokenChange[] = [
  (tokens, at) => void tokens.splice(at, 1),
  (tokens, at, chance) => void tokens.splice(at, 1 + chance.below(20)),
  (tokens, at) => void tokens.splice(at, 0, tokens[at] ?? ''),
  (tokens, at, chance) => void tokens.splice(at, 0, ...tokens.slice(at, at + 1 + chance.below(30))),
  (tokens, at, chance) => void tokens.splice(at, 1, chance.of(tokens)),
  (tokens, at, chance) => void tokens.splice(at, 0, odd(chance)),
  (tokens, at, chance) => void tokens.splice(at, 1, odd(chance)),
  (tokens, at, chance) => {
    const other = chance.below(tokens.length);
    [tokens[at], tokens[other]] = [tokens[other] ?? '', tokens[at] ?? ''];
  },
  (tokens, at, chance) => {
    for (let n = at; n < tokens.length; n++) {
      if (!/^\d+$/.test(tokens[n] ?? '')) continue;
      tokens[n] = otherDigits(tokens[n] ?? '', chance);
      return;
    }
  },
  (tokens, at, chance) => void (tokens[at] = (tokens[at] ?? '').repeat(chance.of([2, 3, 50]))),
  (tokens, at) => {
    const token = tokens[at] ?? '';
    tokens[at] = token === token.toUpperCase() ? token.toLowerCase() : token.toUpperCase();
  },
];

/** Changes words, numbers and marks; sometimes only bytes. */
export function mutateText(seed: Buffer, chance: Chance): Buffer {
  if (chance.below(4) === 0) return mutate(seed, chance);
  const tokens = seed.toString('latin1').match(/\d+|[A-Za-z_]+|[^\dA-Za-z_]/g) ?? [''];
  for (let times = chance.of([1, 1, 2, 5]); times > 0 && tokens.length > 0; times--) {
    chance.of(tokenChanges)(tokens, chance.below(tokens.length), chance);
  }
  return bytesOf(tokens.join(''));
}

/** An element of a text of XML: where it and its content begin and end. */
interface Found {
  readonly from: number;
  readonly inner: number;
  readonly innerEnd: number;
  readonly to: number;
  readonly name: string;
}

/** The first element after a random place, if there is one. Elements of the same name inside it do not matter here. */
function someElement(text: string, chance: Chance): Found | undefined {
  const start = chance.below(text.length);
  const pattern = /<([A-Za-z_][\w.:-]*)([^<>]*[^<>/])?>/g;
  pattern.lastIndex = start;
  const found = pattern.exec(text);
  if (!found) return undefined;
  const name = found[1] ?? '';
  const end = text.indexOf(`</${name}>`, pattern.lastIndex);
  if (end < 0) return undefined;
  return {
    ...{ from: found.index, inner: pattern.lastIndex, name },
    ...{ innerEnd: end, to: end + name.length + 3 },
  };
}

/** Changes elements: removes, repeats, moves, empties, renames or nests one, or changes its text. */
export function mutateXml(seed: Buffer, chance: Chance): Buffer {
  if (chance.below(3) === 0) return mutateText(seed, chance);
  let text = seed.toString('latin1');
  for (let times = chance.of([1, 1, 2, 4]); times > 0; times--) {
    const found = someElement(text, chance);
    if (!found) continue;
    const whole = text.slice(found.from, found.to);
    const inner = text.slice(found.inner, found.innerEnd);
    const other = someElement(text, chance);
    const replacement = chance.of([
      () => '',
      () => whole + whole,
      () => whole.repeat(chance.of([3, 40, 600])),
      () => text.slice(found.from, found.inner) + text.slice(found.innerEnd, found.to),
      () => `<${found.name}/>`,
      () => (other ? text.slice(other.from, other.to) : ''),
      () => whole + (other ? text.slice(other.from, other.to) : ''),
      () => `<${found.name}>${whole}</${found.name}>`,
      () => `<${found.name}>`.repeat(60) + inner + `</${found.name}>`.repeat(60),
      () => `<${found.name}>${otherDigits(inner, chance)}</${found.name}>`,
      () => `<${found.name}>${odd(chance)}</${found.name}>`,
      () => `<${found.name}><![CDATA[${odd(chance)}${inner}]]></${found.name}>`,
      () => `<${found.name}>${inner}x</${found.name}>`,
      () => `<${found.name} a="${odd(chance)}" b='1'>${inner}</${found.name}>`,
    ])();
    text = text.slice(0, found.from) + replacement + text.slice(found.to);
  }
  return bytesOf(text);
}

const values: readonly (() => unknown)[] = [
  ...[null, true, false, 0, -1, 1, 1.5, 1e308, 2 ** 31, 2 ** 32, 2 ** 53, '', 'x', '0', '-1'].map((one) => () => one),
  ...[[], {}, [[]], [null], { x: 1 }, 'x'.repeat(70_000), '\0', '\ud800', '../..', '\u{1f600}'].map((one) => () => one),
  () => JSON.parse('['.repeat(500) + ']'.repeat(500)) as unknown,
  () => Array.from({ length: 3000 }, (_, n) => n),
]; // prettier-ignore

interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

/** All places in a value, in order. */
function placesIn(value: unknown, places: Place[] = []): Place[] {
  if (typeof value !== 'object' || value === null || places.length > 3000) return places;
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    places.push({ holder, key });
    placesIn(holder[key], places);
  }
  return places;
}

/** Changes a value of JSON in some places, in place. */
export function changeValue(value: object, chance: Chance): void {
  for (let times = chance.of([1, 1, 2, 4]); times > 0; times--) {
    const places = placesIn(value);
    if (places.length === 0) return;
    const { holder, key } = chance.of(places);
    const other = chance.of(places);
    const old = holder[key];
    switch (chance.below(8)) {
      case 0:
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else Reflect.deleteProperty(holder, key);
        break;
      case 1:
        if (Array.isArray(holder)) holder.splice(Number(key), 0, structuredClone(old));
        else holder[`${key}x`] = old;
        break;
      case 2:
        holder[key] = structuredClone(other.holder[other.key]);
        break;
      case 3:
      case 4:
        if (typeof old === 'number') holder[key] = Number(otherDigits(String(old), chance)) || 0;
        else if (typeof old === 'string')
          holder[key] = latin1Text(mutateText(Buffer.from(old), chance));
        else holder[key] = structuredClone(chance.of(values)());
        break;
      case 5:
        holder[key] = typeof old === 'string' ? Number(old) || 0 : String(old);
        break;
      default:
        holder[key] = structuredClone(chance.of(values)());
    }
  }
}

const latin1Text = (bytes: Buffer): string => bytes.toString('latin1');

/** Changes values of JSON; sometimes only its text. */
export function mutateJson(seed: Buffer, chance: Chance): Buffer {
  if (chance.below(4) === 0) return mutateText(seed, chance);
  const value = JSON.parse(seed.toString()) as unknown;
  if (typeof value !== 'object' || value === null) return mutateText(seed, chance);
  changeValue(value, chance);
  const json = JSON.stringify(value);
  return Buffer.from(chance.below(20) === 0 ? json.replace('{', '{"__proto__":{"id":1},') : json);
}
