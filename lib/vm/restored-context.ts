// CONTEXT of a restored VM, and the files that a VM uses from file datastores. Pure.
import { child, childText, type XmlElement } from '../xml/xml.ts';
import { applyRules, single, vectorOf } from './attribute-rules.ts';
import type { Carrier } from './dollars.ts';
import { attributeTable } from './template-attributes.ts';
import type { Vm } from './vm.ts';

/** Image ids of files by their SOURCE, for the files that OpenNebula has. */
export type Files = ReadonlyMap<string, number>;

/** CONTEXT without the values that oned writes into it, so that oned makes them again. */
export function restoredContext(
  context: XmlElement,
  files: Files,
  carrier: Carrier,
  warn: (text: string) => void,
): XmlElement {
  return vectorOf(
    'CONTEXT',
    applyRules(attributeTable.CONTEXT, context, (attribute) =>
      attribute.name === 'FILES_DS'
        ? filesOfDatastore(attribute, files, warn)
        : carrier.carry(attribute, 'CONTEXT_'),
    ),
  );
}

/** oned stores `PATH:'NAME' ` for each file (VirtualMachineContext.cc, parse_context). */
const storedFile = /(\S+):'([^']*)'/g;

function filesOfDatastore(
  attribute: XmlElement,
  files: Files,
  warn: (text: string) => void,
): XmlElement | undefined {
  if (attribute.text.trim() === '' || attribute.text.trim().startsWith('$FILE[')) return attribute;
  const found: string[] = [];
  for (const [, source, name] of attribute.text.matchAll(storedFile)) {
    const id = files.get(source ?? '');
    if (id !== undefined) found.push(`$FILE[IMAGE_ID=${id}]`);
    else {
      warn(
        `CONTEXT/FILES_DS: the VM is restored without the file ${name ?? ''}, because OpenNebula has no image at ${source ?? ''}; add $FILE[IMAGE_ID=...] to the template`,
      );
    }
  }
  return found.length === 0 ? undefined : single('FILES_DS', found.join(' '));
}

/** KERNEL_DS or INITRD_DS: names the image by its id if it is known; else what the user wrote. */
export function restoredOsFile(os: XmlElement, attribute: XmlElement, files: Files): XmlElement {
  const id = files.get(childText(os, `${attribute.name}_SOURCE`) ?? '');
  return id === undefined ? attribute : { ...attribute, text: `$FILE[IMAGE_ID=${id}]` };
}

/** The SOURCEs of all files that the VM uses from file datastores. */
export function fileSources(vm: Vm): string[] {
  const context = child(vm.template, 'CONTEXT');
  const os = child(vm.template, 'OS');
  const stored = (context && childText(context, 'FILES_DS')) ?? '';
  const ofOs = ['KERNEL_DS_SOURCE', 'INITRD_DS_SOURCE'].map((name) => os && childText(os, name));
  return [...[...stored.matchAll(storedFile)].map(([, source]) => source), ...ofOs].filter(
    (source): source is string => source !== undefined && source !== '',
  );
}
