// Checks whether QEMU may open a qcow2 disk of a bundle.
import { BundleError, errorMessage } from '../../report/errors.ts';
import type { BundleDisk } from './bundle.ts';
import type { Qcow2Header } from '../../qcow2/header.ts';
import { readStandAloneHeader } from '../../qcow2/stand-alone.ts';

/**
 * The header of a qcow2 disk that does not refer to other files.
 * @param doing for the message, what cannot be done with a bad disk: `restored`
 * @throws BundleError when the disk is not qcow2, or names other files
 */
export async function standAloneHeader(disk: BundleDisk, doing: string): Promise<Qcow2Header> {
  const head = await disk.head();
  try {
    return readStandAloneHeader(head);
  } catch (error) {
    throw new BundleError(`disk ${disk.id} cannot be ${doing}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}
