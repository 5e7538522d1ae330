// Reads owner, group and permissions of images, templates and VMs, and changes the owner.
import { child, textIn } from '../xml/xml.ts';
import { askXml } from './answers.ts';
import type { OneClient } from './client.ts';

export type OwnedKind = 'image' | 'template' | 'vm';

const rootNames = { image: 'IMAGE', template: 'VMTEMPLATE', vm: 'VM' } as const;

export interface Ownership {
  readonly user: string;
  readonly group: string;
  /** In the form of OpenNebula's own tools: `um-u-----`. */
  readonly permissions: string;
}

/** @throws OpenNebulaError */
export async function getOwnership(
  client: OneClient,
  kind: OwnedKind,
  id: number,
): Promise<Ownership> {
  const xml = await askXml(client, rootNames[kind], `one.${kind}.info`, id, false);
  const bits = child(xml, 'PERMISSIONS');
  const permissions = ['OWNER', 'GROUP', 'OTHER']
    .flatMap((who) => ['U', 'M', 'A'].map((right) => [`${who}_${right}`, right] as const))
    .map(([name, right]) => (bits && textIn(bits, name) === '1' ? right.toLowerCase() : '-'))
    .join('');
  return { user: textIn(xml, 'UNAME'), group: textIn(xml, 'GNAME'), permissions };
}

/**
 * Gives an object to another user and group.
 * @throws OpenNebulaError, also when the object would exceed the user's quotas or has a name that the user already has
 */
export async function changeOwner(
  client: OneClient,
  { kind, id }: { readonly kind: OwnedKind; readonly id: number },
  owner: { readonly userId: number; readonly groupId: number },
): Promise<void> {
  await client.call(`one.${kind}.chown`, id, owner.userId, owner.groupId);
}
