// The datastores: two system datastores and two image datastores on folders, with TM ssh and qcow2,
// as in the recorded installation, and the files datastore that every installation has.
import { mkdir, statfs } from 'node:fs/promises';
import { noSuch } from './failure.ts';
import type { Release } from './release.ts';
import { Template, cdata } from './template.ts';
import { identityXml, permissionsXml } from './users.ts';
import type { Owned } from './users.ts';

export type TmMad = 'ssh' | 'qcow2';

export interface Datastore extends Owned {
  readonly system: boolean;
  /** For kernels, RAM disks and files of CONTEXT. */
  readonly files?: boolean;
  /** A backup datastore of our driver. */
  readonly backup?: boolean;
  readonly tmMad: TmMad;
  readonly basePath: string;
  readonly template: Template;
}

export interface DatastoreSettings {
  /** The folder that stands for /var/lib/one. */
  readonly dir: string;
  readonly restrictedDirs: string;
  readonly safeDirs: string;
  readonly release: Release;
}

function attributesOf({
  system,
  files,
  tmMad,
}: Pick<Datastore, 'system' | 'files' | 'tmMad'>): Record<string, string> {
  const orphans = tmMad === 'ssh' ? 'YES' : 'FORMAT';
  const common = { ALLOW_ORPHANS: orphans, DISK_TYPE: 'FILE', TM_MAD: tmMad };
  if (system) {
    const shared = tmMad === 'ssh' ? 'NO' : 'YES';
    return { ...common, DS_MIGRATE: 'YES', SHARED: shared, TYPE: 'SYSTEM_DS' };
  }
  const image = { ...common, CLONE_TARGET: 'SYSTEM', DS_MAD: 'fs' };
  if (tmMad === 'ssh')
    return { ...image, LN_TARGET: 'SYSTEM', TYPE: files ? 'FILE_DS' : 'IMAGE_DS' };
  return {
    ...image,
    CLONE_TARGET_SSH: 'SYSTEM',
    DISK_TYPE_SSH: 'FILE',
    DRIVER: 'qcow2',
    LN_TARGET: 'NONE',
    LN_TARGET_SSH: 'SYSTEM',
    TM_MAD_SYSTEM: 'ssh',
  };
}

const layout: readonly Pick<Datastore, 'id' | 'name' | 'system' | 'files' | 'tmMad'>[] = [
  { id: 0, name: 'system', system: true, tmMad: 'ssh' },
  { id: 1, name: 'default', system: false, tmMad: 'ssh' },
  { id: 2, name: 'files', system: false, files: true, tmMad: 'ssh' },
  { id: 100, name: 'system_qcow2', system: true, tmMad: 'qcow2' },
  { id: 101, name: 'images_qcow2', system: false, tmMad: 'qcow2' },
];

/** A backup datastore as `onedatastore create` makes it, with TYPE=BACKUP_DS and DS_MAD=onevmdump. */
export function backupDatastore(
  settings: DatastoreSettings,
  id: number,
  attributes: Readonly<Record<string, string>>,
): Datastore {
  const template = new Template();
  const fixed = { DS_MAD: 'onevmdump', TM_MAD: '-', TYPE: 'BACKUP_DS' };
  const all = { ...fixed, ...attributes };
  for (const [key, value] of Object.entries(all)) template.add(key, value);
  template.add('RESTRICTED_DIRS', settings.restrictedDirs);
  template.add('SAFE_DIRS', settings.safeDirs);
  return {
    id,
    uid: 0,
    gid: 0,
    uname: 'oneadmin',
    gname: 'oneadmin',
    name: `backups-${id}`,
    permissions: '110100000',
    system: false,
    backup: true,
    tmMad: 'ssh',
    basePath: `${settings.dir}//datastores/${id}`,
    template,
  };
}

/** Makes the datastores and their folders. */
export async function makeDatastores(settings: DatastoreSettings): Promise<Map<number, Datastore>> {
  const datastores = new Map<number, Datastore>();
  for (const one of layout) {
    const { id, name, system, tmMad } = one;
    const template = new Template();
    for (const [key, value] of Object.entries(attributesOf(one))) template.add(key, value);
    template.add('RESTRICTED_DIRS', settings.restrictedDirs);
    template.add('SAFE_DIRS', settings.safeDirs);
    // oned writes two slashes here: /var/lib/one//datastores/1.
    const basePath = `${settings.dir}//datastores/${id}`;
    await mkdir(basePath, { recursive: true });
    datastores.set(id, {
      id,
      uid: 0,
      gid: 0,
      uname: 'oneadmin',
      gname: 'oneadmin',
      name,
      permissions: '110100000',
      system,
      files: one.files ?? false,
      tmMad,
      basePath,
      template,
    });
  }
  return datastores;
}

export function getDatastore(all: ReadonlyMap<number, Datastore>, id: number): Datastore {
  const found = all.get(id);
  if (!found) throw noSuch('datastore', id);
  return found;
}

/** Space in MiB, as the fs driver's monitor reports it. */
export async function spaceOf(datastore: Datastore): Promise<{ total: number; free: number }> {
  const { bsize, blocks, bavail } = await statfs(datastore.basePath);
  const mb = (count: number): number => Math.floor((count * bsize) / 1048576);
  return { total: mb(blocks), free: mb(bavail) };
}

function typeNumber({ system, files, backup }: Datastore): number {
  if (system) return 1;
  if (files) return 2;
  return backup ? 3 : 0;
}

export async function datastoreXml(
  datastore: Datastore,
  images: readonly number[],
): Promise<string> {
  // A TM ssh system datastore lies on the hosts: oned knows no figures of its own.
  const onHosts = datastore.system && datastore.tmMad === 'ssh';
  const { total, free } = onHosts ? { total: 0, free: 0 } : await spaceOf(datastore);
  return (
    `<DATASTORE>${identityXml(datastore)}${permissionsXml(datastore)}` +
    `<DS_MAD>${cdata(datastore.system ? '-' : (datastore.template.get('DS_MAD') ?? 'fs'))}</DS_MAD><TM_MAD>${cdata(datastore.backup ? '-' : datastore.tmMad)}</TM_MAD>` +
    `<BASE_PATH>${cdata(datastore.basePath)}</BASE_PATH><TYPE>${typeNumber(datastore)}</TYPE>` +
    `<DISK_TYPE>0</DISK_TYPE><STATE>0</STATE><CLUSTERS><ID>0</ID></CLUSTERS>` +
    `<TOTAL_MB>${total}</TOTAL_MB><FREE_MB>${free}</FREE_MB><USED_MB>${total - free}</USED_MB>` +
    `<IMAGES>${images.map((id) => `<ID>${id}</ID>`).join('')}</IMAGES>` +
    `${datastore.template.toXml('TEMPLATE')}</DATASTORE>`
  );
}
