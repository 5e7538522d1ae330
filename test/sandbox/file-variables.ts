// $FILE[IMAGE_ID=7] and $FILE[IMAGE="name", IMAGE_UNAME="owner"]: the only way to files of a files datastore,
// in CONTEXT/FILES_DS, OS/KERNEL_DS and OS/INITRD_DS.
// Source: vm_file_var_syntax.y, VirtualMachine::parse_file_attribute, set_os_file and parse_context, read in
// 6.4.7, 6.10.5 and 7.4.0.
import { Failure } from './failure.ts';
import { imageState } from './image-states.ts';
import type { Image, ImageType } from './images.ts';
import type { Vector } from './template.ts';
import { authorize } from './users.ts';
import { VariableLexer } from './variable-lexer.ts';
import { VmError } from './vm-error.ts';
import type { Vm } from './vm.ts';
import type { World } from './world.ts';

function findFile(world: World, vm: Vm, asked: ReadonlyMap<string, string>): Image {
  const name = asked.get('IMAGE');
  const id = asked.get('IMAGE_ID');
  if (name !== undefined) {
    const owner = world.users.byName(asked.get('IMAGE_UNAME') ?? '')?.id;
    const uid = Number(asked.get('IMAGE_UID') ?? owner ?? vm.uid);
    const image = [...world.images.values()].find((one) => one.name === name && one.uid === uid);
    if (image) return image;
    throw new VmError(
      `User ${uid} does not own an image with name: ${name} . Set IMAGE_UNAME or IMAGE_UID of owner.`,
    );
  }
  if (id === undefined) throw new VmError('Cannot get image, set IMAGE_ID or IMAGE.');
  const image = world.images.get(Number(id));
  if (!image) throw new VmError(`Image with ID: ${id} does not exist`);
  return image;
}

function fileOf(world: World, vm: Vm, variable: string, asked: ReadonlyMap<string, string>): Image {
  if (variable !== 'FILE') throw new VmError('Must use FILE variable for attribute.');
  const image = findFile(world, vm, asked);
  try {
    authorize(world.users.byId(vm.uid), 'image', image, 'USE');
  } catch (error) {
    if (error instanceof Failure) throw new VmError('User not authorize to use image.');
    throw error;
  }
  return image;
}

/** The images that the variables name. @throws VmError in oned's words. */
export function filesIn(world: World, vm: Vm, text: string): readonly Image[] {
  const source = text.trimStart() === '' ? text : text.trimStart();
  const lexer = new VariableLexer(source);
  const files: Image[] = [];
  for (;;) {
    const begin = files.length === 0 ? [] : (['$end'] as const);
    const token = lexer.expect(...begin, 'VARIABLE');
    if (token.name === '$end') return files;
    lexer.expect('OBRACKET');
    const asked = new Map<string, string>();
    for (const ends of [['COMMA', 'CBRACKET'], ['CBRACKET']] as const) {
      const key = lexer.expect('VARIABLE').text.toUpperCase();
      lexer.expect('EQUAL');
      asked.set(key, lexer.expect('STRING').text);
      if (lexer.expect(...ends).name === 'CBRACKET') break;
    }
    lexer.expect('EOA');
    try {
      files.push(fileOf(world, vm, token.text.toUpperCase(), asked));
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      throw new VmError(`Error parsing: ${source}. ${error.message}`);
    }
  }
}

/** FILES_DS as oned keeps it: each file's source and name. @throws VmError. */
export function resolvedFiles(world: World, vm: Vm, text: string): string {
  return filesIn(world, vm, text)
    .map((image) => {
      if (image.type !== 'CONTEXT') {
        throw new VmError('Only images of type CONTEXT can be used in FILE_DS attribute.');
      }
      if (image.state !== imageState.ready) {
        throw new VmError(`${image.type} Image '${image.id}' not in READY state.`);
      }
      return `${image.source}:'${image.name}' `;
    })
    .join('');
}

/** KERNEL_DS or INITRD_DS: the image's id, source and datastore are noted beside it. @throws VmError. */
export function addOsFile(world: World, vm: Vm, os: Vector, name: 'KERNEL' | 'INITRD'): void {
  const text = os.get(`${name}_DS`) ?? '';
  if (text === '') return;
  const wanted: ImageType = name === 'KERNEL' ? 'KERNEL' : 'RAMDISK';
  const [image, second] = filesIn(world, vm, text);
  if (!image || second) throw new VmError(`Only one FILE variable can be used in: ${text}`);
  if (image.type !== wanted) {
    throw new VmError(`${name} needs an image of type ${wanted} and not ${image.type}`);
  }
  if (image.state !== imageState.ready) {
    throw new VmError(`${image.type} Image '${image.id} 'not in READY state.`);
  }
  os.delete(name);
  os.set(`${name}_DS_ID`, String(image.id));
  os.set(`${name}_DS_SOURCE`, image.source);
  os.set(`${name}_DS_DSID`, String(image.datastoreId));
  os.set(`${name}_DS_TM`, world.datastores.get(image.datastoreId)?.tmMad ?? '');
  os.set(`${name}_DS_CLUSTER_ID`, '0');
}
