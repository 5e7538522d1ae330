// VMs for the tests of the restored template, and what is made of them.
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { XmlElement } from '../../lib/xml/xml.ts';
import {
  restoredTemplate,
  type RestoredTemplate,
  type TemplateOptions,
} from '../../lib/vm/restored-template.ts';
import type { Vm } from '../../lib/vm/vm.ts';

/** A DISK of an image; its image is 50 more than its number. */
export const diskXml = (id: number, more = ''): string =>
  `<DISK><DISK_ID>${id}</DISK_ID><TYPE>FILE</TYPE><IMAGE_ID>${id + 50}</IMAGE_ID><SIZE>10</SIZE>
   <DEV_PREFIX>vd</DEV_PREFIX><TARGET>vd${'abcdefghij'[id] ?? 'z'}</TARGET>
   <SOURCE>/s/${id}</SOURCE><CACHE>writeback</CACHE>${more}</DISK>`;

/** VM 8, powered off. */
export function vmWith(template: string, beside = ''): Vm {
  return parseVm(
    Buffer.from(`<VM><ID>8</ID><NAME>web</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE>
      <TEMPLATE><CPU>1</CPU><VMID>8</VMID>${template}</TEMPLATE><USER_TEMPLATE/>${beside}</VM>`),
  );
}

/** All disks come back from images that have 100 more than the disks' numbers. */
export function restoreAll(vm: Vm, options: Partial<TemplateOptions> = {}): RestoredTemplate {
  return restoredTemplate(vm, {
    name: 'copy',
    nics: 'none',
    disks: vm.disks.map((disk) => ({ disk, as: 'image', imageId: disk.id + 100 })),
    now: new Date(1_800_000_000_000),
    ...options,
  });
}

/** The template alone. */
export function restore(vm: Vm, options: Partial<TemplateOptions> = {}): XmlElement {
  return restoreAll(vm, options).xml;
}

/** The names of an element's children. */
export function names(element: XmlElement | undefined): string[] | undefined {
  return element?.children.map(({ name }) => name);
}

/** An element's children as NAME=TEXT. */
export function values(element: XmlElement | undefined): string[] | undefined {
  return element?.children.map(({ name, text }) => `${name}=${text}`);
}
