// one.image.allocate. The checks come in oned's order, since the order decides which words a caller gets.
// Source: RequestManagerAllocate.cc (src/rm/api/ImageAPI.cc in 7.4.0), ImagePool.cc and Image.cc, read in 6.4.7, 6.10.5
// and 7.4.0.
import { statBackup } from './backup-driver.ts';
import { getDatastore, spaceOf } from './datastores.ts';
import type { Datastore } from './datastores.ts';
import { internal, notAllocated, refused, unauthorized } from './failure.ts';
import { copySource, makeEmpty, newSource } from './image-files.ts';
import { statSource } from './image-size.ts';
import { imageState } from './image-states.ts';
import { imageTypes, setImageState } from './images.ts';
import type { Image } from './images.ts';
import { invalidName } from './names.ts';
import { imageRestrictedAttributes } from './oned-conf.ts';
import type { Params } from './protocol.ts';
import { requireImageQuota } from './quotas.ts';
import { firstRestricted, restrictedList } from './restricted.ts';
import type { Template } from './template.ts';
import { parseTemplate } from './template-text.ts';
import { defaultPermissions, isAdmin, ownedBy } from './users.ts';
import { now } from './world.ts';
import type { Call, MethodTable, World } from './world.ts';

/** SIZE in MiB, from the source or as given. */
async function sizeOf(world: World, template: Template, type: string): Promise<number> {
  const path = template.get('PATH') ?? '';
  if (type === 'BACKUP') throw internal('Cannot parse image SIZE: ');
  const made = template.get('SOURCE') !== undefined || path === '';
  const from = template.get('FROM_BACKUP_DS');
  if (!made && from !== undefined && world.settings.release.atLeast('6.6.0')) {
    // Whatever the path is. Without the attribute, the image datastore's own driver looks for a file of that name.
    const datastore = world.datastores.get(Number(from));
    if (!datastore) throw internal('Could not get associated backup datastore.');
    return statBackup(world, datastore, path);
  }
  if (!made) return statSource(world, path);
  if (path === '' && template.get('SOURCE') === undefined && !['OS', 'DATABLOCK'].includes(type)) {
    throw internal(`Cannot parse image SIZE: Either PATH or SOURCE are required for ${type}`);
  }
  const size = template.get('SIZE') ?? '';
  if (!/^\d+$/.test(size)) {
    throw internal('Cannot parse image SIZE: Wrong number or missing SIZE attribute.');
  }
  return Number(size);
}

function checkNew(
  world: World,
  template: Template,
  { type, uid, datastore }: { type: string; uid: number; datastore: Datastore },
): string {
  const name = template.get('NAME') ?? '';
  const invalid = invalidName(name, world.settings.release);
  if (invalid !== undefined) throw notAllocated('image', invalid);
  const isFile = ['KERNEL', 'RAMDISK', 'CONTEXT'].includes(type);
  if (datastore.files && ['OS', 'DATABLOCK', 'CDROM'].includes(type)) {
    throw notAllocated(
      'image',
      'Only IMAGES of type KERNEL, RAMDISK and CONTEXT can be registered in a FILE_DS datastore',
    );
  }
  if (!datastore.files && isFile) {
    throw notAllocated(
      'image',
      'IMAGES of type KERNEL, RAMDISK and CONTEXT cannot be registered in an IMAGE_DS datastore',
    );
  }
  const taken = [...world.images.values()].find((one) => one.name === name && one.uid === uid);
  if (taken) throw notAllocated('image', `NAME is already taken by IMAGE ${taken.id}.`);
  return name;
}

/** The fourth argument says "check the capacity" up to 6.8.2 and "do not check it" from 6.8.3 on. */
function checksCapacity({ settings }: World, params: Params): boolean {
  if (params.size <= 3) return true;
  return settings.release.atLeast('6.8.3') ? !params.boolean(3) : params.boolean(3);
}

async function allocate({ world, user, params }: Call): Promise<number> {
  const text = params.string(1);
  const datastoreId = params.int(2);
  const anySize = isAdmin(user) && !checksCapacity(world, params);
  const template = parseTemplate(text, world.settings.release);
  const datastore = getDatastore(world.datastores, datastoreId);
  if (datastore.system || datastore.backup) {
    const where = world.settings.release.atLeast('6.6.0')
      ? 'can only be allocated in a files or image datastore.'
      : 'cannot be allocated in a system datastore.';
    throw notAllocated('image', `New images ${where}`);
  }
  const type = (template.get('TYPE') ?? '').toUpperCase() || 'OS';
  const sizeMb = await sizeOf(world, template, type);
  if (!anySize && sizeMb > (await spaceOf(datastore)).free) {
    throw refused('Not enough space in datastore');
  }
  if (!isAdmin(user)) {
    const list = restrictedList(imageRestrictedAttributes(world.settings.release));
    const found = firstRestricted(template, list);
    if (found !== undefined) {
      throw unauthorized(user.id, `Template includes a restricted attribute ${found}`);
    }
  }
  requireImageQuota(world, user, { datastoreId, sizeMb });
  const name = checkNew(world, template, { type, uid: user.id, datastore });
  const known = imageTypes.find((one) => one === type);
  if (!known) throw notAllocated('image', 'Unknown type');

  for (const own of ['NAME', 'TYPE', 'SIZE', 'DRIVER']) template.erase(own);
  const persistent = template.take('PERSISTENT').toUpperCase() === 'YES';
  // From 7.4.0 on the prefix of a CD-ROM is chosen when a VM uses it.
  const chosenLater = known === 'CDROM' && world.settings.release.atLeast('7.4.0');
  if (chosenLater || datastore.files) template.erase('DEV_PREFIX');
  else if ((template.get('DEV_PREFIX') ?? '') === '') {
    template.replace('DEV_PREFIX', known === 'CDROM' ? 'hd' : 'sd');
  }
  const [fs, path, source, format] = ['FS', 'PATH', 'SOURCE', 'FORMAT'].map((one) =>
    template.take(one),
  );
  template.erase('TM_MAD');
  if (source && path) throw notAllocated('image', 'PATH and SOURCE cannot be both set.');
  if (source && !format) throw notAllocated('image', 'SOURCE needs FORMAT to be set.');
  if (!template.isStorable()) throw notAllocated('image', 'Error transforming the Image to XML.');
  const image: Image = {
    ...ownedBy(user),
    id: world.nextId('image'),
    name,
    permissions: defaultPermissions,
    type: known,
    persistent,
    regtime: now(),
    source: source ?? '',
    path: path ?? '',
    format: path ? '' : (datastore.template.get('DRIVER') ?? (format || 'raw')),
    fs: fs ?? '',
    sizeMb,
    state: source ? imageState.ready : imageState.locked,
    prevState: imageState.init,
    vms: new Set(),
    datastoreId,
    datastore: datastore.name,
    template,
  };
  world.images.set(image.id, image);
  if (!source) world.background(() => register(world, image));
  return image.id;
}

/** Copies or makes the image's file; the image is READY afterwards, or in ERROR with the driver's words. */
async function register(world: World, image: Image): Promise<void> {
  const datastore = getDatastore(world.datastores, image.datastoreId);
  let made: { source: string; format: string };
  try {
    await world.pause(world.imageCopyMs);
    if (image.path === '') {
      made = { source: newSource(datastore), format: image.format };
      await makeEmpty(made.source, made.format, image.sizeMb);
    } else if (datastore.template.get('DS_MAD') === 'dev') {
      // datastore_mad/remotes/dev/cp: nothing is copied.
      made = { source: image.path, format: 'raw' };
    } else {
      made = await copySource(world, datastore, image.path, image.type === 'CDROM');
    }
  } catch (error) {
    const words = (error as Error).message.replaceAll('\n', ' ');
    const time = new Date()
      .toUTCString()
      .replace(/^(\w+), (\d+) (\w+) (\d+) (.*) GMT$/, '$1 $3 $2 $5 $4');
    const doing =
      image.path === '' ? 'Error creating datablock' : 'Error copying image in the datastore';
    image.template.replace('ERROR', `${time} : ${doing}: ${words}`);
    setImageState(image, imageState.error);
    return;
  }
  // Deleted meanwhile: oned leaves the file behind and logs it.
  if (!world.images.has(image.id)) return;
  image.source = made.source;
  image.format = made.format;
  unlock(image);
}

/** LOCKED becomes READY, or USED when a VM waits for it. */
function unlock(image: Image): void {
  const used = image.persistent ? imageState.usedPersistent : imageState.used;
  setImageState(image, image.vms.size > 0 ? used : imageState.ready);
}

export const imageAllocateMethods: MethodTable = { 'one.image.allocate': allocate };
