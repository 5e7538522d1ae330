// Finds the format of a disk, as OpenNebula declares it. The bytes of the disk never decide: a guest can write
// anything there, and a header that it wrote could name any file of the host as its backing file.
import type { DiskFormat } from '../bundle/format/manifest.ts';
import { UnsupportedError } from '../report/errors.ts';
import { isCdrom, type Disk } from '../vm/vm.ts';

/**
 * Returns FORMAT, or else DRIVER, or else the image's format according to oned. A CD-ROM is raw whatever is declared:
 * OpenNebula attaches it as raw (LibVirtDriverKVM.cc, 6.4.0 to 7.4.0), so its guest reads the file's bytes unchanged.
 * @throws UnsupportedError when nothing is declared, when FORMAT and DRIVER contradict each other, and for every
 *   format but raw and qcow2.
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

/** In lower case. An empty attribute is treated as missing. */
function word(text: string | undefined): string | undefined {
  const trimmed = text?.trim().toLowerCase();
  return trimmed === '' ? undefined : trimmed;
}
