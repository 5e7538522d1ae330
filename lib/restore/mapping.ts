// `OLD=NEW`: which datastore or network a restore uses here in place of the VM's old one. Both sides are ids or names.
import { UsageError } from '../report/errors.ts';

export interface Mapping {
  /** Id or name as the bundle has it. */
  readonly from: string;
  /** Id or name in this OpenNebula. */
  readonly to: string;
}

/** An object as a bundle names it; bundles of the older onevmdump may lack the name. */
export interface OldObject {
  readonly id: number;
  readonly name: string | undefined;
}

/** `3 (web)`. */
export function nameOf({ id, name }: OldObject): string {
  return `${id} (${name ?? 'its name is not in the bundle'})`;
}

/** @param option its name for messages: `--map-network`. @throws UsageError when a text is not OLD=NEW */
export function parseMappings(texts: readonly string[], option: string): Mapping[] {
  return texts.map((text) => {
    // Names may contain "=": the text is split at the first one that leaves neither side empty.
    const at = text.indexOf('=', 1);
    const [from, to] = at === -1 ? ['', ''] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    if (from === '' || to === '') {
      throw new UsageError(`${option} takes OLD=NEW, not ${JSON.stringify(text)}`);
    }
    return { from, to };
  });
}

/**
 * Finds the mapping of each object of the bundle, by name, else by id.
 * @returns the mappings by the old object's id
 * @throws UsageError for a mapping of an object that is not in the bundle, and for two mappings of one object
 */
export function matchMappings(
  mappings: readonly Mapping[],
  objects: readonly OldObject[],
  words: { readonly option: string; readonly what: string },
): Map<number, Mapping> {
  const matched = new Map<number, Mapping>();
  for (const mapping of mappings) {
    const byName = objects.filter(({ name }) => name === mapping.from);
    const found =
      byName.length > 0 ? byName : objects.filter(({ id }) => String(id) === mapping.from);
    if (found.length === 0) {
      const there = objects.map(nameOf).join(', ') || 'none';
      throw new UsageError(
        `${words.option}: the VM in the bundle has no ${words.what} ${JSON.stringify(mapping.from)} (it has: ${there})`,
      );
    }
    for (const { id } of found) {
      if (matched.has(id)) {
        throw new UsageError(`${words.option}: ${words.what} ${id} of the bundle is mapped twice`);
      }
      matched.set(id, mapping);
    }
  }
  return matched;
}
