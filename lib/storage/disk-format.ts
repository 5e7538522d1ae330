// The format of a disk as OpenNebula declares it. The bytes of the disk are never asked: a guest can
// write anything there, and a header of its making could name any file of the host as backing file.
import type { DiskFormat } from '../bundle/format/manifest.ts';
import { UnsupportedError } from '../report/errors.ts';
import { isCdrom, type Disk } from '../vm/vm.ts';

/**
 * FORMAT, else DRIVER, else the image's format as oned knows it. A CD-ROM is raw whatever it is declared as: OpenNebula
 * attaches it so (LibVirtDriverKVM.cc, 6.4.0 to 7.4.0), and its guest reads the very bytes of the file.
 * @throws UnsupportedError when nothing is declared, when FORMAT and DRIVER contradict each other,
 *   and for every other format than raw and qcow2.
 */
export function declaredFormat(disk: Disk, imageFormat?: string): DiskFormat {
  if (isCdrom(disk)) return 'raw';
  const format = word(disk.format);
  const driver = word(disk.driver);
  if (format !== undefined && driver !== undefined && format !== driver) {
    throw new UnsupportedError(
      `disk ${disk.id} is declared as ${format} by FORMAT, but as ${driver} by DRIVER`,
    );
  }
  const declared = format ?? driver ?? word(imageFormat);
  switch (declared) {
    case 'raw':
      return 'raw';
    case 'qcow2':
      return 'qcow2';
    case undefined:
      throw new UnsupportedError(
        `the format of disk ${disk.id} is not known: it has neither FORMAT nor DRIVER, and oned was not asked or knows no format of its image`,
      );
  }
  throw new UnsupportedError(
    `disk ${disk.id} has the format ${declared}; only raw and qcow2 can be handled`,
  );
}

/** Lower case; an empty attribute says nothing. */
function word(text: string | undefined): string | undefined {
  const trimmed = text?.trim().toLowerCase();
  return trimmed === '' ? undefined : trimmed;
}
