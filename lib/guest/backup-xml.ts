// The order to libvirt to serve disks as they are at one point in time.
// Format: https://libvirt.org/formatbackup.html

/**
 * A <domainbackup> in pull mode.
 * @param socket where QEMU serves the disks by NBD, each under its target.
 * @param targets of all disks of the domain; those without a scratch file take no part.
 * @param scratch where QEMU keeps what the guest overwrites, by target.
 */
export function backupXml(
  socket: string,
  targets: readonly string[],
  scratch: ReadonlyMap<string, string>,
): string {
  const disks = targets.map((target) => {
    const file = scratch.get(target);
    if (file === undefined) return `<disk name='${escaped(target)}' backup='no'/>`;
    return `<disk name='${escaped(target)}' backup='yes' type='file'><scratch file='${escaped(file)}'/></disk>`;
  });
  return `<domainbackup mode='pull'><server transport='unix' socket='${escaped(socket)}'/><disks>${disks.join('')}</disks></domainbackup>`;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;');
}
