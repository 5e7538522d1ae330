// Writes the XML with which libvirt starts a backup job: QEMU then serves the disks as of one point in time.
// Format: https://libvirt.org/formatbackup.html

/**
 * Returns a <domainbackup> in pull mode.
 * @param socket on which QEMU serves the disks by NBD, each under its target.
 * @param targets of all disks of the domain; disks without a scratch file are left out of the job.
 * @param scratch the files in which QEMU keeps what the guest overwrites, by target.
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
