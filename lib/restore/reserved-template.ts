// Registers the template of a restored VM before any data moves: that reserves its name, and oned reports at once what it
// does not accept. The template's disks name images that do not exist yet; it is completed when they do.
import { randomBytes } from 'node:crypto';
import { childText, type XmlElement } from '../xml/xml.ts';
import { writeXml } from '../xml/xml-write.ts';
import type { OneClient } from '../one/client.ts';
import { allocateTemplate, markOfRestore, replaceTemplate } from '../one/templates.ts';
import { removeTemplate } from '../one/undo.ts';
import { OpenNebulaError } from '../report/errors.ts';
import type { JournalEntry } from '../run/journal.ts';
import type { Run } from '../run/run.ts';
import type { FreeNames } from './names.ts';
import { imageName } from './names.ts';
import { recordedCall } from './recorded-call.ts';

/** Takes the place of the IMAGE_ID of a disk whose image does not exist yet. Negative, which oned's ids never are. */
export function pendingImageId(diskId: number): number {
  return -1 - diskId;
}

export interface Reservation {
  readonly name: string;
  readonly templateId: number;
  /** Writes the final template. @param images ids of the new images by disk id */
  complete(images: ReadonlyMap<number, number>): Promise<void>;
}

export interface ReservationOptions {
  readonly run: Run;
  readonly one: OneClient;
  readonly names: FreeNames;
  /** The template with this name and these images; disks whose image is missing have a `pendingImageId`. */
  readonly templateOf: (name: string, images: ReadonlyMap<number, number>) => XmlElement;
  /** The undo entries of the template are added to this list. */
  readonly made: JournalEntry[];
}

/**
 * Registers the template under the first free name.
 * @throws UsageError when the name that the user chose is taken, OpenNebulaError when oned does not accept the template
 */
export async function reserveTemplate(options: ReservationOptions): Promise<Reservation> {
  for (;;) {
    const name = options.names.next();
    const allocated = await allocate(name, options);
    if (!allocated) continue;
    const { templateId, byMark } = allocated;
    const { run, one, made } = options;
    return {
      name,
      templateId,
      async complete(images) {
        // Replacing the template removes its mark, so from here on the undo has to find it by its id.
        const is = { id: templateId };
        const { endpoint } = one;
        made.push(await run.journal.record(removeTemplate.undo({ endpoint, name, is })));
        await byMark.done();
        const xml = options.templateOf(name, images);
        const children = xml.children.filter((element) => element.name !== 'NAME');
        await replaceTemplate(one, templateId, writeXml({ ...xml, children }));
      },
    };
  }
}

interface Allocated {
  readonly templateId: number;
  /** The undo that finds the template by its mark. */
  readonly byMark: JournalEntry;
}

/** @returns undefined when the name has been taken in the meantime */
async function allocate(
  name: string,
  { run, one, templateOf, made }: ReservationOptions,
): Promise<Allocated | undefined> {
  const xml = templateOf(name, new Map());
  const mark = randomBytes(8).toString('hex');
  const children = [
    ...xml.children.map((element) => withImageName(element, name)),
    { name: markOfRestore, text: mark, children: [] },
  ];
  const { endpoint } = one;
  const is = { mark, since: Date.now() };
  const byMark = await run.journal.record(removeTemplate.undo({ endpoint, name, is }));
  made.push(byMark);
  const template = writeXml({ ...xml, children });
  try {
    const templateId = await recordedCall(byMark, () => allocateTemplate(one, template));
    return { templateId, byMark };
  } catch (error) {
    const isTaken = /NAME is already taken/;
    if (error instanceof OpenNebulaError && isTaken.test(error.message)) return undefined;
    throw error;
  }
}

function withImageName(element: XmlElement, base: string): XmlElement {
  const imageId = element.name === 'DISK' ? Number(childText(element, 'IMAGE_ID')) : NaN;
  if (!(imageId < 0)) return element;
  const image = { name: 'IMAGE', text: imageName(base, -1 - imageId), children: [] };
  const children = element.children.map((part) => (part.name === 'IMAGE_ID' ? image : part));
  return { ...element, children };
}
