// one.image.*: registers, finds and deletes images. image-wait.ts waits for them.
import { textIn, type XmlElement } from '../xml/xml.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { writeXml } from '../xml/xml-write.ts';
import { OpenNebulaError, UsageError } from '../report/errors.ts';
import { askPool, askXml, isRefusal, noSuchObject, numberIn } from './answers.ts';
import type { OneClient } from './client.ts';
import { isGeneratedInImage } from './generated-in-image.ts';
import {
  isDiskImage,
  toFolderImage,
  toImage,
  type FolderImage,
  type RegisteredImage,
  type ImageState,
} from './image-xml.ts';

/** @throws OpenNebulaError, with code 1024 when there is none with this id; also when it is not a disk's image */
export async function getImage(client: OneClient, id: number): Promise<RegisteredImage> {
  return toImage(await askXml(client, 'IMAGE', 'one.image.info', id, false));
}

/**
 * Returns the image with this id, if it is a disk's and the caller may see it.
 * @throws OpenNebulaError when oned does not answer
 */
export async function findDiskImage(
  client: OneClient,
  id: number,
): Promise<RegisteredImage | undefined> {
  const xml = await findXml(client, id);
  return xml && isDiskImage(xml) ? toImage(xml) : undefined;
}

/**
 * Returns the image with this id, if it is of TYPE FILESYSTEM and the caller may see it.
 * @throws OpenNebulaError when oned does not answer
 */
export async function findFolderImage(
  client: OneClient,
  id: number,
): Promise<FolderImage | undefined> {
  const xml = await findXml(client, id);
  return xml && toFolderImage(xml);
}

/** Undefined when there is none, or the caller may not see it. */
async function findXml(client: OneClient, id: number): Promise<XmlElement | undefined> {
  try {
    return await askXml(client, 'IMAGE', 'one.image.info', id, false);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/**
 * Returns the ids of a user's images by name (names are unique per owner).
 * @param owner a user's id; default: the caller
 */
export async function imageNames(
  client: OneClient,
  owner?: number,
): Promise<ReadonlyMap<string, number>> {
  const pool = await askPool(client, 'IMAGE_POOL', 'one.imagepool.info', owner ?? -3);
  return new Map(pool.map((image) => [textIn(image, 'NAME'), numberIn(image, 'ID')]));
}

/** Finds the image that was registered from this path, whoever owns it, if the caller may see it. */
export async function findImageFrom(
  client: OneClient,
  path: string,
): Promise<{ readonly id: number; readonly path: string } | undefined> {
  const pool = await askPool(client, 'IMAGE_POOL', 'one.imagepool.info', -2);
  const found = pool.find((image) => textIn(image, 'PATH') === path);
  return found && { id: numberIn(found, 'ID'), path };
}

/** Returns the ids of the images at these places (SOURCE), by place, that the caller may see. */
export async function imagesAt(
  client: OneClient,
  sources: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (sources.length === 0) return new Map();
  const pool = await askPool(client, 'IMAGE_POOL', 'one.imagepool.info', -2);
  return new Map(
    pool
      .filter((image) => sources.includes(textIn(image, 'SOURCE')))
      .map((image) => [textIn(image, 'SOURCE'), numberIn(image, 'ID')]),
  );
}

export interface NewImage {
  readonly name: string;
  /** A path on the front-end, or a URL. */
  readonly path: string;
  readonly type: ImageFacts['type'];
  readonly persistent: boolean;
  readonly devPrefix: string | undefined;
  /** The backup datastore whose driver knows `path`: oned asks its driver for the size. */
  readonly fromBackupDatastore?: number;
  readonly description: string | undefined;
  /**
   * Undefined: oned refuses an image that is larger than the datastore's free space. Otherwise the flag that makes oned
   * skip this check (`skipCapacityFlag`), which it does only for administrators.
   */
  readonly capacityFlag: boolean | undefined;
  /** More attributes; those that oned generates or acts on are left out. */
  readonly attributes: Readonly<Record<string, string>>;
}

/**
 * Registers an image. It is not yet READY when this returns; see `waitForImage`.
 * @returns its id
 * @throws OpenNebulaError, UsageError when a value cannot be sent
 */
export async function allocateImage(
  client: OneClient,
  datastoreId: number,
  image: NewImage,
): Promise<number> {
  // oned treats an empty path as no path, and would make an empty image.
  if (image.path === '') throw new UsageError(`the image ${image.name} has no path`);
  const values: readonly (readonly [name: string, value: string | undefined])[] = [
    ['NAME', image.name],
    ['PATH', image.path],
    ['TYPE', image.type],
    ['PERSISTENT', image.persistent ? 'YES' : 'NO'],
    ['DEV_PREFIX', image.devPrefix],
    ['DESCRIPTION', image.description],
    ['FROM_BACKUP_DS', image.fromBackupDatastore?.toString()],
    ...Object.entries(image.attributes).filter(([name]) => !isGeneratedInImage(name)),
  ];
  const children = values.flatMap(([name, text]) =>
    text === undefined ? [] : [{ name, text, children: [] }],
  );
  const template = writeXml({ name: 'TEMPLATE', text: '', children });
  const { capacityFlag } = image;
  const flag = capacityFlag === undefined ? [] : [capacityFlag];
  return client.id('one.image.allocate', template, datastoreId, ...flag);
}

/**
 * Returns the flag of one.image.allocate that makes an oned of this version skip its check of free space: up to 6.8.2
 * the flag means "check", from 6.8.3 on "do not check" (RequestManagerAllocate.cc).
 * @throws OpenNebulaError when the version cannot be read
 */
export function skipCapacityFlag(version: string): boolean {
  const [, ...numbers] = /^(\d+)\.(\d+)\.(\d+)/.exec(version.trim()) ?? [];
  const [major, minor, patch] = numbers.map(Number);
  if (major === undefined || minor === undefined || patch === undefined) {
    throw new OpenNebulaError(
      `the version of OpenNebula, ${JSON.stringify(version)}, does not say how its check of free space is skipped`,
    );
  }
  if (major !== 6) return major > 6;
  return minor > 8 || (minor === 8 && patch >= 3);
}

export interface DeleteOptions {
  /** How long to wait until the image can be deleted, in milliseconds. */
  readonly waitMs: number;
  readonly pollMs?: number;
  /** Called once, before it waits. */
  readonly onWait?: (image: RegisteredImage) => void;
}

/**
 * Deletes an image, unless it is already gone; oned removes its file later. While OpenNebula is copying the image
 * (LOCKED), or a VM that is being removed still uses it, it cannot be deleted: up to 6.4 its owner may not delete it,
 * and since 6.6 only with force, which leaves the file that is being written in the datastore
 * (RequestManagerDelete.cc, ImageManagerProtocol.cc).
 * @throws OpenNebulaError, also when it still cannot be deleted after `waitMs`
 */
export async function deleteImage(
  client: OneClient,
  id: number,
  { waitMs, pollMs = 1000, onWait }: DeleteOptions,
): Promise<void> {
  const deadline = Date.now() + waitMs;
  try {
    for (let waiting = false; ; waiting = true) {
      const image = await getImage(client, id);
      const busy = busyStates.includes(image.state);
      if (!busy || Date.now() >= deadline) break;
      if (!waiting) onWait?.(image);
      await sleep(Math.min(pollMs, Math.max(1, deadline - Date.now())));
    }
    await client.call('one.image.delete', id);
  } catch (error) {
    if (noSuchObject(error)) return;
    throw error;
  }
}

/** States in which oned refuses to delete an image. */
const busyStates: readonly (ImageState | undefined)[] = [
  'LOCKED',
  'LOCKED_USED',
  'LOCKED_USED_PERS',
  'USED',
  'USED_PERS',
  'CLONE',
];
