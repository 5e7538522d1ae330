// What an ordinary user may not write into a VM template, and what he must be allowed to use.
// Source: RequestManagerAllocate.cc and RequestManagerVMTemplate.cc (src/rm/api/TemplateAPI.cc in 7.4.0),
// VirtualMachineDisk::authorize, read in 6.4.7, 6.10.5 and 7.4.0.
import { unauthorized } from './failure.ts';
import { leasingNics } from './networks.ts';
import { networkOf } from './nics.ts';
import { vmRestrictedAttributes } from './oned-conf.ts';
import { changedRestricted, firstRestricted, restrictedList } from './restricted.ts';
import type { Template } from './template.ts';
import { authorize, isAdmin } from './users.ts';
import type { User } from './users.ts';
import type { World } from './world.ts';

/** @throws Failure 512 when an ordinary user's new template holds a restricted attribute. */
export function refuseRestricted(world: World, user: User, template: Template): void {
  if (isAdmin(user)) return;
  const list = restrictedList(vmRestrictedAttributes(world.settings.release));
  const found = firstRestricted(template, list);
  if (found === undefined) return;
  throw unauthorized(user.id, `VM Template includes a restricted attribute ${found}`);
}

/** @throws Failure 512 when what is merged into a stored template changes a restricted attribute. */
export function refuseChanged(world: World, user: User, template: Template, base: Template): void {
  if (isAdmin(user)) return;
  const { release } = world.settings;
  const list = restrictedList(vmRestrictedAttributes(release));
  const found = changedRestricted(template, list, { base, append: true, release });
  if (found === undefined) return;
  throw unauthorized(user.id, `User Template includes a restricted attribute ${found}`);
}

/**
 * Checks that the user may USE every image of a template's disks; networks are open to all.
 * @returns the template with the ids of the images and networks that it names, for the quotas
 * @throws Failure 512
 */
export function withUsableObjects(world: World, user: User, template: Template): Template {
  const known = template.clone();
  for (const disk of known.vectors('DISK')) {
    const name = disk.get('IMAGE');
    const owner = world.users.byName(disk.get('IMAGE_UNAME') ?? '')?.id;
    const uid = Number(disk.get('IMAGE_UID') ?? owner ?? user.id);
    const images = [...world.images.values()];
    const image =
      name === undefined
        ? world.images.get(Number(disk.get('IMAGE_ID') ?? NaN))
        : images.find((one) => one.name === name && one.uid === uid);
    if (!image) continue;
    authorize(user, 'image', image, 'USE');
    disk.set('IMAGE_ID', String(image.id));
  }
  for (const nic of leasingNics(known)) {
    const network = networkOf(world, user.id, nic);
    if (typeof network === 'object') nic.set('NETWORK_ID', String(network.id));
  }
  return known;
}
