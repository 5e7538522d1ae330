// The only names a bundle's members may have.
import { BundleError } from '../../report/errors.ts';

const plainNames = ['vm.xml', 'about.json', 'nvram', 'tpm.tar', 'manifest.json'] as const;

export type MemberName =
  | { readonly kind: 'folder' | (typeof plainNames)[number] }
  /** `regions` is the region table of a disk. */
  | { readonly kind: 'disk' | 'regions'; readonly id: number }
  | { readonly kind: 'optional'; readonly name: string };

/**
 * What a member with this name is.
 * @param optional names that a reader may skip
 * @throws BundleError for every name a bundle must not hold
 */
export function memberName(path: string, optional: readonly string[] = []): MemberName {
  if (path === '.' || path === './') return { kind: 'folder' };
  const name = path.replace(/^\.\//, '');
  const plain = plainNames.find((known) => known === name);
  if (plain !== undefined) return { kind: plain };
  // OpenNebula numbers disks from 0; nine digits fit into an ordinary integer.
  const [, ofDisk, digits] = /^(backup|regions)\.disk\.(0|[1-9][0-9]{0,8})$/.exec(name) ?? [];
  if (ofDisk !== undefined) {
    return { kind: ofDisk === 'backup' ? 'disk' : 'regions', id: Number(digits) };
  }
  if (optional.includes(`./${name}`)) return { kind: 'optional', name };
  throw new BundleError(`it holds ${quoted(path)}, which a bundle must not hold`);
}

/** How messages call a member: `disk 0`, `vm.xml`. */
export function memberLabel(name: MemberName): string {
  switch (name.kind) {
    case 'disk':
      return `disk ${name.id}`;
    case 'regions':
      return `the region table of disk ${name.id}`;
    case 'optional':
      return name.name;
    default:
      return name.kind;
  }
}

/** Makes hostile text safe for a message: quoted, short and without control characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text).replaceAll(
    // JSON escapes only C0 controls. C1 controls, and the marks that change the direction of text or hide it, follow.
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
