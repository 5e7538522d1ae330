// The disks of a restored VM, and the attributes that name disks by number. oned numbers the new disks 0, 1, 2, ... in their
// order (VirtualMachineDisk.cc, get_images). Pure.
import { textIn } from '../xml/xml.ts';
import type { XmlElement } from '../xml/xml.ts';
import { applyRules, isYes, single, vectorOf } from './attribute-rules.ts';
import { attributeTable } from './template-attributes.ts';
import { isCdrom, isVolatile, type Disk, type Vm } from './vm.ts';

/** How a disk of the old VM is restored. */
export type RestoredDisk =
  /** From an image: a restored one, or the existing one of a CD-ROM. */
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

/** The new number of a disk of the old VM; undefined for a disk that is not restored. */
export function newDiskId(disks: readonly RestoredDisk[], oldId: number): number | undefined {
  const index = disks.findIndex(({ disk }) => disk.id === oldId);
  return index === -1 ? undefined : index;
}

/**
 * The value of OS/BOOT with the numbers of the new disks and NICs. Devices that are not restored are left out, and also the
 * old names `hd` and `network`, because oned refuses a boot order that names a device it does not know.
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
      const newId = kind === 'disk' ? newDiskId(disks, Number(id)) : nicIds.get(String(Number(id)));
      return kind === undefined || newId === undefined ? [] : [`${kind}${newId}`];
    })
    .join(',');
}

/** BACKUP_CONFIG; empty when the VM has none. */
export function backupConfig(vm: Vm, disks: readonly RestoredDisk[]): XmlElement {
  const config = vm.backupConfig ?? vectorOf('BACKUP_CONFIG', []);
  const renumber = (attribute: XmlElement) => {
    const ids = attribute.text.split(',').flatMap((id) => {
      const newId = newDiskId(disks, Number(id));
      const disk = newId === undefined ? undefined : disks[newId];
      return disk && isBackedUp(disk, isYes(config, 'BACKUP_VOLATILE')) ? [newId] : [];
    });
    return ids.length === 0 ? undefined : single(attribute.name, ids.join(','));
  };
  const kept = applyRules(attributeTable.BACKUP_CONFIG, config, renumber);
  return vectorOf(
    'BACKUP_CONFIG',
    kept.filter(({ text }) => text !== ''),
  );
}

/** Whether oned would back up the disk (VirtualMachineDisk.cc, backup_disk_ids, 7.4). */
function isBackedUp({ disk, as }: RestoredDisk, volatiles: boolean): boolean {
  if (as === 'volatile') return volatiles && disk.type === 'FS';
  return !isCdrom(disk) && (disk.type !== 'FILESYSTEM' || isVolatile(disk));
}

/**
 * An action with the new number of its disk: actions on a disk's snapshots name the disk in ARGS. Undefined when that disk is
 * not restored.
 */
export function renumberedAction(
  action: XmlElement,
  disks: readonly RestoredDisk[],
): XmlElement | undefined {
  if (!textIn(action, 'ACTION').startsWith('disk-snapshot-')) return action;
  const [, id, rest = ''] = /^\s*(\d+)(.*)$/s.exec(textIn(action, 'ARGS')) ?? [];
  if (id === undefined) return action;
  const newId = newDiskId(disks, Number(id));
  if (newId === undefined) return undefined;
  const args = single('ARGS', `${newId}${rest}`);
  return vectorOf(
    action.name,
    action.children.map((attribute) => (attribute.name === 'ARGS' ? args : attribute)),
  );
}
