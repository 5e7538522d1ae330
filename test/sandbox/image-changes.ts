// one.image.persistent, chtype and enable. Source: RequestManagerImage.cc, Image.h of 6.10.5.
import { Failure, errorCode, internal, refused } from './failure.ts';
import { imageState, imageStateName } from './image-states.ts';
import { getImage, imageTypes, setImageState } from './images.ts';
import type { Image } from './images.ts';
import { authorize } from './users.ts';
import type { Call, MethodTable } from './world.ts';

function find({ world, user, params }: Call): Image {
  const image = getImage(world, params.int(1));
  authorize(user, 'image', image, 'MANAGE');
  return image;
}

function persistent(call: Call): number {
  const wanted = call.params.boolean(2);
  const image = find(call);
  if (image.vms.size > 0) {
    const which = wanted ? 'persistent' : 'non-persistent';
    throw internal(
      `Could not make image ${which}: Image cannot be in state ${imageStateName(image.state)}.`,
    );
  }
  image.persistent = wanted;
  return image.id;
}

function changeType(call: Call): number {
  const wanted = call.params.string(2).toUpperCase() || 'OS';
  const image = find(call);
  const type = imageTypes.find((one) => one === wanted);
  if (!type) throw new Failure(errorCode.internal, 'Unknown type');
  if (!['OS', 'DATABLOCK', 'CDROM'].includes(type)) {
    throw refused('Cannot change image type to an incompatible type for the current datastore.');
  }
  image.type = type;
  return image.id;
}

function enable(call: Call): number {
  const wanted = call.params.boolean(2);
  const image = find(call);
  const { ready, disabled, error } = imageState;
  if (![ready, disabled, error].some((state) => state === image.state)) {
    const action = wanted ? 'enable' : 'disable';
    throw internal(
      `Could not ${action} image: Image cannot be in state ${imageStateName(image.state)}.`,
    );
  }
  setImageState(image, wanted ? ready : disabled);
  return image.id;
}

export const imageChangeMethods: MethodTable = {
  'one.image.chtype': changeType,
  'one.image.enable': enable,
  'one.image.persistent': persistent,
};
