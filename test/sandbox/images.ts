// Images: one.image.info and one.imagepool.info. Source: Image.cc of 6.10.5.
import { noSuch } from './failure.ts';
import { imageState } from './image-states.ts';
import { shownTo } from './pools.ts';
import type { Template } from './template.ts';
import { cdata } from './template.ts';
import { authorize, identityXml, lockXml, permissionsXml } from './users.ts';
import type { Operation, Owned } from './users.ts';
import type { Call, MethodTable, World } from './world.ts';

export const imageTypes = [
  'OS',
  'CDROM',
  'DATABLOCK',
  'KERNEL',
  'RAMDISK',
  'CONTEXT',
  'BACKUP',
  // From 7.2 on.
  'FILESYSTEM',
] as const;
export type ImageType = (typeof imageTypes)[number];

export interface Image extends Owned {
  type: ImageType;
  persistent: boolean;
  readonly regtime: number;
  source: string;
  readonly path: string;
  format: string;
  readonly fs: string;
  readonly sizeMb: number;
  state: number;
  prevState: number;
  /** The VMs that use it. */
  readonly vms: Set<number>;
  readonly datastoreId: number;
  readonly datastore: string;
  readonly template: Template;
}

export function getImage(world: World, id: number): Image {
  const found = world.images.get(id);
  if (!found) throw noSuch('image', id);
  return found;
}

/** As in oned, PREV_STATE equals STATE again once the change has been stored. */
export function setImageState(image: Image, state: number): void {
  image.state = state;
  image.prevState = state;
}

export function imageXml(image: Image): string {
  const vms = [...image.vms].sort((a, b) => a - b).map((id) => `<ID>${id}</ID>`);
  return (
    `<IMAGE>${identityXml(image)}${lockXml(image)}${permissionsXml(image)}` +
    `<TYPE>${imageTypes.indexOf(image.type)}</TYPE><DISK_TYPE>0</DISK_TYPE>` +
    `<PERSISTENT>${image.persistent ? 1 : 0}</PERSISTENT><REGTIME>${image.regtime}</REGTIME>` +
    `<SOURCE>${cdata(image.source)}</SOURCE><PATH>${cdata(image.path)}</PATH>` +
    `<FORMAT>${cdata(image.format)}</FORMAT><FS>${cdata(image.fs)}</FS><SIZE>${image.sizeMb}</SIZE>` +
    `<STATE>${image.state}</STATE><PREV_STATE>${image.prevState}</PREV_STATE>` +
    `<RUNNING_VMS>${vms.length}</RUNNING_VMS><CLONING_OPS>0</CLONING_OPS><CLONING_ID>-1</CLONING_ID>` +
    `<TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT><DATASTORE_ID>${image.datastoreId}</DATASTORE_ID>` +
    `<DATASTORE>${image.datastore}</DATASTORE><VMS>${vms.join('')}</VMS><CLONES></CLONES><APP_CLONES></APP_CLONES>` +
    `${image.template.toXml('TEMPLATE')}<SNAPSHOTS><ALLOW_ORPHANS>${cdata('NO')}</ALLOW_ORPHANS>` +
    `<CURRENT_BASE>${cdata('-1')}</CURRENT_BASE><NEXT_SNAPSHOT>${cdata('0')}</NEXT_SNAPSHOT></SNAPSHOTS>` +
    '<BACKUP_INCREMENTS></BACKUP_INCREMENTS><BACKUP_DISK_IDS></BACKUP_DISK_IDS></IMAGE>'
  );
}

/** Puts an image back when a VM is done with it. */
export function releaseImage(image: Image, vmId: number): void {
  image.vms.delete(vmId);
  const { used, usedPersistent, ready } = imageState;
  if (image.vms.size === 0 && (image.state === used || image.state === usedPersistent)) {
    setImageState(image, ready);
  }
}

function find(call: Call, operation: Operation, heedLock = true): Image {
  const image = getImage(call.world, call.params.int(1));
  authorize(call.user, 'image', image, operation, heedLock);
  return image;
}

function pool(call: Call): string {
  const shown = shownTo(call, 'image', call.world.images);
  return `<IMAGE_POOL>${shown.map(imageXml).join('')}</IMAGE_POOL>`;
}

export const imageMethods: MethodTable = {
  'one.image.info': (call) => imageXml(find(call, 'USE', false)),
  'one.imagepool.info': pool,
};
