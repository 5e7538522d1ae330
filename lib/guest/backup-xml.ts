// Writes the XML with which libvirt starts a backup job: QEMU then serves the disks as of one point in time.
// Format: https://libvirt.org/formatbackup.html

/**
 * Returns a <domainbackup> in pull mode. libvirt leaves out the disks that are not listed, and refuses to have an empty
 * drive listed.
 * @param socket on which QEMU serves the disks by NBD, each under its target.
 * @param scratch the files in which QEMU keeps what the guest overwrites, by the targets of the disks.
 */
export function backupXml(socket: string, scratch: ReadonlyMap<string, string>): string {
  const disks = [...scratch].map(
    ([target, file]) =>
      `<disk name='${escaped(target)}' backup='yes' type='file'><scratch file='${escaped(file)}'/></disk>`,
  );
  return `<domainbackup mode='pull'><server transport='unix' socket='${escaped(socket)}'/><disks>${disks.join('')}</disks></domainbackup>`;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;');
}
