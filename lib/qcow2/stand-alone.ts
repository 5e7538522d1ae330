// Decides by the header of a qcow2 file that is not trusted whether QEMU may open the file. A backing file or an
// external data file would make QEMU read any file of the machine into the guest's disk.
import { BundleError } from '../report/errors.ts';
import { readQcow2Header, type HeaderFault, type Qcow2Header } from './header.ts';

const reasons: Readonly<Record<Exclude<HeaderFault, 'damaged'>, string>> = {
  'not qcow2': 'it is not a qcow2 file',
  version: 'unknown version',
  encrypted: 'it is encrypted',
  'unknown features': 'it needs unknown features',
  corrupt: 'it is marked as corrupt',
  'external data': 'it names an external data file',
};

/**
 * Reads the header of a stand-alone qcow2 file.
 * @param head the first bytes of the file, 104 or more
 * @throws BundleError when it is not one, names other files, is encrypted, or makes no sense
 */
export function readStandAloneHeader(head: Uint8Array): Qcow2Header {
  const refuse = (why: string) => new BundleError(`its qcow2 header is refused: ${why}`);
  const header = readQcow2Header(head, (fault, detail) =>
    refuse(fault === 'damaged' ? detail : `${reasons[fault]} ${detail}`.trim()),
  );
  if (header.backingName.offset !== 0 || header.backingName.length !== 0) {
    throw refuse('it names a backing file');
  }
  return header;
}
