// Reads the UEFI variables and the state of the vTPM, which are small members of the bundle.
import { createHash } from 'node:crypto';
import { BundleError } from '../../report/errors.ts';
import type { ByteReader } from './byte-reader.ts';
import { largestState, type StateMember } from '../format/manifest.ts';
import { memberBytes, type TarMember } from './tar-member.ts';

/**
 * The content of a state member.
 * @param member the next member of the tar stream
 * @throws BundleError when it is not the expected member, too large, or damaged
 */
export async function readState(
  input: ByteReader,
  member: TarMember | undefined,
  expected: { readonly member: StateMember; readonly sha256?: string | undefined },
): Promise<Buffer> {
  if (member === undefined || `./${member.name.kind}` !== expected.member) {
    throw new BundleError(`${expected.member} is not where it should be`);
  }
  const bytes = await memberBytes(input, member, largestState[expected.member]);
  const { sha256 } = expected;
  if (sha256 !== undefined && createHash('sha256').update(bytes).digest('hex') !== sha256) {
    throw new BundleError(`${expected.member}: SHA-256 is not that of the manifest`);
  }
  return bytes;
}
