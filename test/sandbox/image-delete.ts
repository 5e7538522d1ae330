// one.image.delete(id, force). Source: ImageDelete::request_execute (src/rm/api/ImageAPI.cc in 7.4.0) and
// ImageManager::delete_image, read in 6.4.7, 6.5.80, 6.10.5 and 7.4.0.
import { rm } from 'node:fs/promises';
import { internal, refused } from './failure.ts';
import { imageState } from './image-states.ts';
import { getImage, setImageState } from './images.ts';
import type { Image } from './images.ts';
import { authorize } from './users.ts';
import type { Call, MethodTable } from './world.ts';

function isLocked({ state }: Image): boolean {
  const { locked, lockedUsed, lockedUsedPersistent } = imageState;
  return [locked, lockedUsed, lockedUsedPersistent].some((one) => one === state);
}

/** From 6.6 on an image that is still being made needs force, and force needs ADMIN rights. */
function remove({ world, user, params }: Call): number {
  const image = getImage(world, params.int(1));
  const force = params.size > 2 && params.boolean(2);
  const guarded = isLocked(image) && world.settings.release.atLeast('6.6.0');
  if (guarded && !force) {
    throw internal(
      'Image locked, use --force flag to remove the image. Force delete may leave some files on Datastore',
      image.id,
    );
  }
  authorize(user, 'image', image, guarded ? 'ADMIN' : 'MANAGE');
  if (image.vms.size > 0) {
    throw refused(`Cannot delete image. There are ${image.vms.size} VMs using it.`);
  }
  if (image.source === '') {
    world.images.delete(image.id);
    return image.id;
  }
  setImageState(image, imageState.delete);
  world.background(async () => {
    await rm(image.source, { force: true });
    await rm(`${image.source}.snap`, { recursive: true, force: true });
    world.images.delete(image.id);
  });
  return image.id;
}

export const imageDeleteMethods: MethodTable = { 'one.image.delete': remove };
