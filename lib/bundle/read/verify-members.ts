// Checks the members of a bundle that are not disks, against their checksums in the manifest.
import { createHash } from 'node:crypto';
import { BundleError } from '../../report/errors.ts';
import { parseAbout, requireSameAbout } from '../format/manifest-parse.ts';
import type { Manifest } from '../format/manifest.ts';
import { memberName } from '../format/member-name.ts';
import type { BundleSource } from './bundle.ts';
import { withMember } from './indexed-bundle.ts';
import { memberNamed } from './member-places.ts';
import type { OpenedContent } from './opened-bundle.ts';
import { memberPieces, nextMember, requireDense } from './tar-member.ts';

/** What checks the members besides vm.xml, which was checked when the bundle was opened, and the disks. */
export function otherMembers(
  source: BundleSource,
  { indexed, manifest, state }: OpenedContent,
  signal: AbortSignal | undefined,
): readonly (() => Promise<unknown>)[] {
  if (!indexed || !manifest) return state.map((file) => () => file.read());
  const skipped = manifest.optional ?? [];
  return manifest.members.flatMap(({ name }) => {
    const { kind } = memberName(name, skipped);
    if (kind === 'vm.xml' || kind === 'disk') return [];
    return [() => verifyMember(source, manifest, name, signal)];
  });
}

async function verifyMember(
  source: BundleSource,
  manifest: Manifest,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await withMember(source, manifest, name, signal, async (input, sha256) => {
    const member = await nextMember(input, manifest.optional);
    const { size } = memberNamed(manifest, name);
    if (!member || member.path !== name || member.map.size !== size) {
      throw new BundleError('it is not where it should be');
    }
    requireDense(member.name, member.map);
    const hash = createHash('sha256');
    const parts: Uint8Array[] = [];
    for await (const { data } of memberPieces(input, member)) {
      hash.update(data);
      if (member.name.kind === 'about.json') parts.push(Buffer.from(data));
    }
    if (hash.digest('hex') !== sha256) throw new BundleError('SHA-256 is not that of the manifest');
    if (member.name.kind !== 'about.json') return;
    requireSameAbout(
      parseAbout(Buffer.concat(parts), () => undefined),
      manifest,
    );
  });
}
