// The disks of a restored VM, and what names disks by their number. oned numbers the new disks 0, 1, 2,
// ... in their order (VirtualMachineDisk.cc, get_images). Pure.
import { textIn } from '../xml/xml.ts';
import type { XmlElement } from '../xml/xml.ts';
import { applyRules, isYes, single, vectorOf } from './attribute-rules.ts';
import { attributeTable } from './template-attributes.ts';
import { isCdrom, isVolatile, type Disk, type Vm } from './vm.ts';

/** How a disk of the old VM comes back. */
export type RestoredDisk =
  /** From an image: a restored one, or the one a CD-ROM came from. */
  | { readonly disk: Disk; readonly as: 'image'; readonly imageId: number }
  /** As a new, empty volatile disk. */
  | { readonly disk: Disk; readonly as: 'volatile' };

/** The DISK of the template. */
export function diskElement(restored: RestoredDisk): XmlElement {
  const fromImage = restored.as === 'image';
  const situation = { fromImage, otherNetwork: false };
  const kept = applyRules(attributeTable.DISK, restored.disk.xml, undefined, situation);
  return vectorOf('DISK', [
    ...(fromImage ? [single('IMAGE_ID', String(restored.imageId))] : []),
    ...kept,
  ]);
}

/** The number that a disk of the old VM has then; undefined for one that does not come back. */
export function newDiskId(disks: readonly RestoredDisk[], oldId: number): number | undefined {
  const place = disks.findIndex(({ disk }) => disk.id === oldId);
  return place === -1 ? undefined : place;
}

/**
 * The value of OS/BOOT with the numbers of the new disks and NICs. What does not come back is left out, and
 * so is what oned does not know any more (`hd`, `network`): it refuses a boot order that names it.
 */
export function bootOrder(
  boot: string,
  disks: readonly RestoredDisk[],
  nicIds: ReadonlyMap<string, number>,
): string {
  return boot
    .split(',')
    .flatMap((device) => {
      const [, kind, id = ''] = /^(disk|nic)(\d+)$/.exec(device.trim().toLowerCase()) ?? [];
      const place = kind === 'disk' ? newDiskId(disks, Number(id)) : nicIds.get(String(Number(id)));
      return kind === undefined || place === undefined ? [] : [`${kind}${place}`];
    })
    .join(',');
}

/** BACKUP_CONFIG, without an attribute when the VM has none. */
export function backupConfig(vm: Vm, disks: readonly RestoredDisk[]): XmlElement {
  const config = vm.backupConfig ?? vectorOf('BACKUP_CONFIG', []);
  const renumber = (attribute: XmlElement) => {
    const ids = attribute.text.split(',').flatMap((id) => {
      const place = newDiskId(disks, Number(id));
      const disk = place === undefined ? undefined : disks[place];
      return disk && isBackedUp(disk, isYes(config, 'BACKUP_VOLATILE')) ? [place] : [];
    });
    return ids.length === 0 ? undefined : single(attribute.name, ids.join(','));
  };
  const kept = applyRules(attributeTable.BACKUP_CONFIG, config, renumber);
  return vectorOf(
    'BACKUP_CONFIG',
    kept.filter(({ text }) => text !== ''),
  );
}

/** VirtualMachineDisk.cc, backup_disk_ids (7.4). */
function isBackedUp({ disk, as }: RestoredDisk, volatiles: boolean): boolean {
  if (as === 'volatile') return volatiles && disk.type === 'FS';
  return !isCdrom(disk) && (disk.type !== 'FILESYSTEM' || isVolatile(disk));
}

/** An action on a disk's snapshots names the disk in ARGS; undefined when that disk does not come back. */
export function renumberedAction(
  action: XmlElement,
  disks: readonly RestoredDisk[],
): XmlElement | undefined {
  if (!textIn(action, 'ACTION').startsWith('disk-snapshot-')) return action;
  const [, id, rest = ''] = /^\s*(\d+)(.*)$/s.exec(textIn(action, 'ARGS')) ?? [];
  if (id === undefined) return action;
  const place = newDiskId(disks, Number(id));
  if (place === undefined) return undefined;
  const args = single('ARGS', `${place}${rest}`);
  return vectorOf(
    action.name,
    action.children.map((attribute) => (attribute.name === 'ARGS' ? args : attribute)),
  );
}
