// The only names a bundle's members may have.
import { BundleError } from '../../report/errors.ts';

export type MemberName =
  | { readonly kind: 'folder' | 'vm.xml' | 'nvram' | 'tpm.tar' | 'manifest.json' }
  | { readonly kind: 'disk'; readonly id: number };

/** What a member with this name is. @throws BundleError for every name a bundle must not hold. */
export function memberName(path: string): MemberName {
  if (path === '.' || path === './') return { kind: 'folder' };
  const name = path.replace(/^\.\//, '');
  if (name === 'vm.xml' || name === 'nvram' || name === 'tpm.tar' || name === 'manifest.json') {
    return { kind: name };
  }
  // OpenNebula numbers disks from 0; nine digits fit into an ordinary integer.
  const digits = /^backup\.disk\.(0|[1-9][0-9]{0,8})$/.exec(name)?.[1];
  if (digits !== undefined) return { kind: 'disk', id: Number(digits) };
  throw new BundleError(`it holds ${quoted(path)}, which a bundle must not hold`);
}

/** How messages call a member: `disk 0`, `vm.xml`. */
export function memberLabel(name: MemberName): string {
  return name.kind === 'disk' ? `disk ${name.id}` : name.kind;
}

/** Makes hostile text safe for a message: quoted, short and without control characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text).replaceAll(
    // JSON escapes only C0 controls. C1 controls, and the marks that change the direction of text or hide it, follow.
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
