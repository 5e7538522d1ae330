// Attributes that only the administrators' group may set, as oned compares a template with its lists.
// Source: Template::check_restricted and its callers (RequestManagerAllocate.cc, RequestManagerVMTemplate.cc,
// PoolObjectSQL::replace_template and append_template, VirtualMachine.cc), read in 6.4.7, 6.10.5 and 7.4.0.
import type { Release } from './release.ts';
import type { Template } from './template.ts';

/** Names of vectors with the names inside them, none for a single attribute; in oned's order, by name. */
export type RestrictedList = ReadonlyMap<string, readonly string[]>;

/** From the values of VM_RESTRICTED_ATTR or IMAGE_RESTRICTED_ATTR. */
export function restrictedList(values: readonly string[]): RestrictedList {
  const list = new Map<string, string[]>();
  for (const value of [...values].sort()) {
    const [name = '', part] = value.split('/');
    const parts = list.get(name) ?? [];
    if (part !== undefined) parts.push(part);
    list.set(name, parts);
  }
  return new Map([...list].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * The first restricted attribute of a new template; of a vector, the name inside it.
 * An entry without a slash concerns single attributes only: PCI, always a vector, is never found.
 */
export function firstRestricted(template: Template, list: RestrictedList): string | undefined {
  for (const [name, parts] of list) {
    if (parts.length === 0) {
      if (template.get(name) !== undefined) return name;
      continue;
    }
    for (const vector of template.vectors(name)) {
      const found = parts.find((part) => vector.has(part));
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function valuesOf(template: Template, name: string, parts: readonly string[]): string {
  const values = template
    .vectors(name)
    .flatMap((vector) =>
      parts.flatMap((part) => (vector.has(part) ? [`${part}=${vector.get(part) ?? ''}`] : [])),
    );
  return JSON.stringify(values.sort());
}

export interface Change {
  readonly base: Template;
  /** Whether the new attributes are added to `base`; otherwise they replace all of it. */
  readonly append: boolean;
  readonly release: Release;
}

/**
 * The first restricted attribute that differs from the stored template; of a vector, its own name.
 * A restricted single attribute that is not named is kept: it is added to `template`.
 */
export function changedRestricted(
  template: Template,
  list: RestrictedList,
  { base, append, release }: Change,
): string | undefined {
  // Up to 6.6 a user could drop a whole vector with its restricted attributes.
  const heedsDropped = !append && release.atLeast('6.8.0');
  for (const [name, parts] of list) {
    const before = base.get(name);
    if (parts.length > 0) {
      const concerned =
        template.vectors(name).length > 0 || (heedsDropped && base.vectors(name).length > 0);
      const differs = valuesOf(template, name, parts) !== valuesOf(base, name, parts);
      if (concerned && differs) return name;
    } else if (template.get(name) !== undefined) {
      if (template.get(name) !== (before ?? '')) return name;
    } else if (before !== undefined) {
      template.add(name, before);
    }
  }
  return undefined;
}
