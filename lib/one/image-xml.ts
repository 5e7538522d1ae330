// An image as oned describes it. Formats and states: OpenNebula's Image.h and Image.cc, 6.4 to 7.4.
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { child, textIn, type XmlElement } from '../xml/xml.ts';
import { OpenNebulaError } from '../report/errors.ts';
import { numberIn } from './answers.ts';
import { isGeneratedInImage } from './generated-in-image.ts';

/** The index is STATE. */
const states = [
  'INIT',
  'READY',
  'USED',
  'DISABLED',
  'LOCKED',
  'ERROR',
  'CLONE',
  'DELETE',
  'USED_PERS',
  'LOCKED_USED',
  'LOCKED_USED_PERS',
] as const;
export type ImageState = (typeof states)[number];

/** The index is TYPE. Kernels, context files and backups are not disks. */
const diskTypes = ['OS', 'CDROM', 'DATABLOCK'] as const;

export interface RegisteredImage {
  readonly id: number;
  readonly facts: ImageFacts;
  readonly state: ImageState | undefined;
  /** Whether VMs can use the image now. */
  readonly usable: boolean;
  /** TEMPLATE/ERROR: oned's own message about what went wrong. */
  readonly error: string | undefined;
  /** The path or URL it was registered from. */
  readonly path: string;
  /** Its place in its datastore. */
  readonly source: string;
  readonly sizeMb: number;
}

/** An image of TYPE FILESYSTEM (OpenNebula 7.2 and newer): a folder that hosts share with their guests. */
export interface FolderImage {
  readonly name: string;
  /** The folder on the hosts. */
  readonly source: string;
  /** Whether the image is in a state in which VMs can have it. */
  readonly usable: boolean;
  /** Whether it is for one VM only (persistent, and not shareable), and a VM has it. */
  readonly isTaken: boolean;
}

const folderType = 7;

/** Reads an `<IMAGE>` element; undefined when it is not of TYPE FILESYSTEM. @throws OpenNebulaError */
export function toFolderImage(xml: XmlElement): FolderImage | undefined {
  if (numberIn(xml, 'TYPE') !== folderType) return undefined;
  const state = states[numberIn(xml, 'STATE')];
  const template = child(xml, 'TEMPLATE');
  const kind = template ? textIn(template, 'PERSISTENT_TYPE').toUpperCase() : '';
  return {
    name: textIn(xml, 'NAME'),
    source: textIn(xml, 'SOURCE'),
    usable: isUsable(state),
    isTaken: state === 'USED_PERS' && kind !== 'SHAREABLE',
  };
}

function isUsable(state: ImageState | undefined): boolean {
  return state === 'READY' || state === 'USED' || state === 'USED_PERS';
}

/** Whether an `<IMAGE>` element is an image for a disk, not a kernel, a context file or a backup. */
export function isDiskImage(xml: XmlElement): boolean {
  return diskTypes[numberIn(xml, 'TYPE')] !== undefined;
}

/** Reads an `<IMAGE>` element. @throws OpenNebulaError when it is not a disk's image, or lacks a field */
export function toImage(xml: XmlElement): RegisteredImage {
  const id = numberIn(xml, 'ID');
  const type = diskTypes[numberIn(xml, 'TYPE')];
  if (!type)
    throw new OpenNebulaError(`image ${id} (${textIn(xml, 'NAME')}) is not a disk's image`);
  const state = states[numberIn(xml, 'STATE')];
  const template = child(xml, 'TEMPLATE') ?? { name: 'TEMPLATE', text: '', children: [] };
  return {
    id,
    facts: toFacts(id, type, xml, template),
    state,
    usable: isUsable(state),
    error: textIn(template, 'ERROR') || undefined,
    path: textIn(xml, 'PATH'),
    source: textIn(xml, 'SOURCE'),
    sizeMb: numberIn(xml, 'SIZE'),
  };
}

function toFacts(
  id: number,
  type: ImageFacts['type'],
  xml: XmlElement,
  template: XmlElement,
): ImageFacts {
  const optional = (key: keyof ImageFacts, text: string): Partial<ImageFacts> =>
    text === '' ? {} : { [key]: text };
  const attributes = template.children
    .filter(({ name, children }) => children.length === 0 && !isGeneratedInImage(name))
    .map(({ name, text }) => [name, text] as const);
  return {
    id,
    name: textIn(xml, 'NAME'),
    ...optional('uname', textIn(xml, 'UNAME')),
    type,
    persistent: numberIn(xml, 'PERSISTENT') === 1,
    datastoreId: numberIn(xml, 'DATASTORE_ID'),
    ...optional('datastore', textIn(xml, 'DATASTORE')),
    ...optional('devPrefix', textIn(template, 'DEV_PREFIX')),
    ...optional('description', textIn(template, 'DESCRIPTION')),
    ...optional('format', textIn(xml, 'FORMAT')),
    ...(attributes.length > 0 ? { attributes: Object.fromEntries(attributes) } : {}),
  };
}
