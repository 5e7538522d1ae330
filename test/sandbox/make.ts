// Short ways to images and VMs for tests and the demo, without going through the network.
import { getDatastore } from './datastores.ts';
import { imageState } from './image-states.ts';
import { newSource } from './image-files.ts';
import type { Image, ImageType } from './images.ts';
import { deploy, scheduledDatastore } from './deploy.ts';
import { instantiate } from './instantiate.ts';
import { run } from './run.ts';
import { Template } from './template.ts';
import { parseTemplate } from './template-text.ts';
import { defaultPermissions, ownedBy } from './users.ts';
import type { User } from './users.ts';
import { getVm, setVmState, vmState } from './vm.ts';
import { now } from './world.ts';
import type { World } from './world.ts';

export interface NewImage {
  readonly name: string;
  /** Copied into the datastore as it is, holes included. FILESYSTEM: a folder, which stays where it is. */
  readonly file: string;
  /** FORMAT as oned will show it; nothing is probed. */
  readonly format: 'raw' | 'qcow2' | 'dir';
  /** 1 (TM ssh), the default, or 101 (TM qcow2). */
  readonly datastore?: number;
  readonly type?: ImageType;
  readonly persistent?: boolean;
  /** More attributes of its TEMPLATE, as text. */
  readonly template?: string;
  /** The owner's name; oneadmin without it. */
  readonly owner?: string;
}

export interface NewVm {
  /** The template as text or XML: CPU, MEMORY, DISK, ... */
  readonly template: string;
  readonly name?: string;
  /** 0 (TM ssh) or 100 (TM qcow2); by default the one that suits the images. */
  readonly systemDatastore?: number;
  /** `running`, the default, `poweroff` or `undeployed`. */
  readonly state?: 'running' | 'poweroff' | 'undeployed';
  readonly owner?: string;
}

function owner(world: World, name = 'oneadmin'): User {
  const user = world.users.byName(name);
  if (!user) throw new Error(`the sandbox has no user ${name}`);
  return user;
}

/** Virtual size in MiB, the format being told. */
async function sizeMb(file: string, format: string): Promise<number> {
  const info = await run('qemu-img', ['info', '--output=json', '-f', format, file]);
  const { 'virtual-size': size } = JSON.parse(info) as { 'virtual-size': number };
  return Math.ceil(size / 1048576);
}

export async function makeImage(world: World, wanted: NewImage): Promise<number> {
  const datastore = getDatastore(world.datastores, wanted.datastore ?? 1);
  const type = wanted.type ?? 'OS';
  const template = parseTemplate(wanted.template ?? '');
  if (template.get('DEV_PREFIX') === undefined && type !== 'FILESYSTEM') {
    template.add('DEV_PREFIX', type === 'CDROM' ? 'hd' : 'sd');
  }
  const isFolder = type === 'FILESYSTEM';
  const source = isFolder ? wanted.file : newSource(datastore);
  if (!isFolder) await run('cp', ['--sparse=always', '--', wanted.file, source]);
  const id = world.nextId('image');
  const image: Image = {
    ...ownedBy(owner(world, wanted.owner)),
    id,
    name: wanted.name,
    permissions: defaultPermissions,
    type,
    persistent: wanted.persistent ?? false,
    regtime: now(),
    source,
    path: wanted.file,
    format: wanted.format,
    fs: '',
    sizeMb: isFolder ? 1 : await sizeMb(source, wanted.format),
    state: imageState.ready,
    prevState: imageState.ready,
    vms: new Set(),
    datastoreId: datastore.id,
    datastore: datastore.name,
    template,
  };
  world.images.set(id, image);
  return id;
}

export async function makeVm(world: World, wanted: NewVm): Promise<number> {
  const user = owner(world, wanted.owner);
  const template = {
    ...ownedBy(user),
    id: -1,
    name: 'sandbox',
    permissions: defaultPermissions,
    regtime: now(),
    template: new Template(),
  };
  const options = { name: wanted.name ?? '', hold: true, extra: wanted.template };
  const id = instantiate({ world, user }, template, options);
  const vm = getVm(world, id);
  await deploy(world, id, wanted.systemDatastore ?? scheduledDatastore(world, vm));
  if (vm.state !== vmState.running[0] || vm.lcmState !== vmState.running[1]) {
    throw new Error(`the sandbox could not deploy the VM: ${vm.userTemplate.get('ERROR') ?? ''}`);
  }
  const { state = 'running' } = wanted;
  if (state !== 'running') setVmState(vm, vmState[state]);
  return id;
}
