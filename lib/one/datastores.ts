// one.datastore.*: what oned knows about a datastore.
import { child, textIn, type XmlElement } from '../xml/xml.ts';
import { UsageError } from '../report/errors.ts';
import { askXml, numberIn } from './answers.ts';
import type { OneClient } from './client.ts';

// OpenNebula's Datastore.h, DatastoreType: the index is TYPE.
const types = ['IMAGE', 'SYSTEM', 'FILE', 'BACKUP'] as const;
/** Source: `cp` of each (datastore_mad/remotes), OpenNebula 6.4 to 7.4. */
const referringDsMads: readonly string[] = ['dev', 'iscsi_libvirt', 'virtiofs'];
/** Those whose `cp` passes any PATH to datastore/downloader.sh; the same source. */
const downloadingDsMads: readonly string[] = ['fs', 'ceph', 'lvm'];

export type DatastoreType = (typeof types)[number];

export interface Datastore {
  readonly id: number;
  readonly name: string;
  readonly type: DatastoreType | undefined;
  /** Whether images for VM disks can be registered there. */
  readonly takesImages: boolean;
  /**
   * Whether its driver copies what is registered there. Others only note the path: their images are devices or folders that
   * exist already.
   */
  readonly copiesImages: boolean;
  /** Whether its driver fetches what is registered there with OpenNebula's datastore/downloader.sh. */
  readonly downloadsImages: boolean;
  readonly dsMad: string;
  readonly tmMad: string;
  readonly basePath: string;
  /** As the monitor last saw it; undefined before the first time. */
  readonly freeMb: number | undefined;
  /** Folders from which images may be registered although they are in a restricted folder. */
  readonly safeDirs: readonly string[];
  readonly restrictedDirs: readonly string[];
}

/** @throws OpenNebulaError; code 1024 when there is none with this id */
export async function getDatastore(client: OneClient, id: number): Promise<Datastore> {
  return toDatastore(await askXml(client, 'DATASTORE', 'one.datastore.info', id, false));
}

/** The backup datastores of this driver that the caller may see. @throws OpenNebulaError */
export async function backupDatastoresOf(client: OneClient, dsMad: string): Promise<Datastore[]> {
  const pool = await askXml(client, 'DATASTORE_POOL', 'one.datastorepool.info');
  return pool.children
    .map(toDatastore)
    .filter((datastore) => datastore.type === 'BACKUP' && datastore.dsMad === dsMad);
}

/** Finds a datastore by id or name, as the user wrote it. @throws UsageError when none or several match */
export async function findDatastore(client: OneClient, idOrName: string): Promise<Datastore> {
  const pool = await askXml(client, 'DATASTORE_POOL', 'one.datastorepool.info');
  const all = pool.children.map(toDatastore);
  const byName = all.filter(({ name }) => name === idOrName);
  const [found, ...more] =
    byName.length > 0 ? byName : all.filter(({ id }) => String(id) === idOrName);
  if (!found) throw new UsageError(`there is no datastore ${JSON.stringify(idOrName)}`);
  if (more.length === 0) return found;
  const ids = byName.map(({ id }) => id).join(', ');
  throw new UsageError(`several datastores are named ${idOrName} (${ids}); give the id`);
}

function toDatastore(xml: XmlElement): Datastore {
  const template = child(xml, 'TEMPLATE') ?? { name: 'TEMPLATE', text: '', children: [] };
  const type = types[numberIn(xml, 'TYPE')];
  // Separated by blanks, as datastore/libfs.sh reads them. oned sets both unless the administrator did.
  const folders = (name: string): string[] =>
    textIn(template, name)
      .split(/[ \t\n]+/)
      .filter((folder) => folder !== '');
  return {
    id: numberIn(xml, 'ID'),
    name: textIn(xml, 'NAME'),
    type,
    takesImages: type === 'IMAGE',
    copiesImages: !referringDsMads.includes(textIn(xml, 'DS_MAD')),
    downloadsImages: downloadingDsMads.includes(textIn(xml, 'DS_MAD')),
    dsMad: textIn(xml, 'DS_MAD'),
    tmMad: textIn(xml, 'TM_MAD'),
    basePath: textIn(xml, 'BASE_PATH'),
    // It can be negative or missing, which is not worth a failure.
    freeMb: /^\d{1,15}$/.test(textIn(xml, 'FREE_MB')) ? numberIn(xml, 'FREE_MB') : undefined,
    safeDirs: folders('SAFE_DIRS'),
    restrictedDirs: folders('RESTRICTED_DIRS'),
  };
}
