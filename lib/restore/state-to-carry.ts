// UEFI variables and vTPM state are restored through attributes of the template, because the folder of the new VM, where
// they belong, does not exist yet.
import type { Bundle } from '../bundle/read/bundle.ts';
import { encodeTpmArchive, parseTpmArchive } from '../bundle/format/tpm-archive.ts';
import type { StateMember } from '../bundle/format/manifest.ts';
import type { XmlElement } from '../xml/xml.ts';
import type { Run } from '../run/run.ts';
import {
  carriedState,
  firmwareOf,
  hasTpm,
  hasUefi,
  nvramKey,
  tpmStateKey,
} from '../vm/carried-state.ts';
import type { Vm } from '../vm/vm.ts';

export interface StateToCarry {
  /** Attributes to add to the template. */
  readonly attributes: readonly XmlElement[];
  /** UEFI variables to write into the folder of a VM; undefined when there are none that can be restored. */
  readonly nvram: Buffer | undefined;
}

/**
 * Reads the state in the bundle and decides how it is restored; what cannot be restored is a warning.
 * @throws BundleError when the state is damaged
 */
export async function stateToCarry(vm: Vm, bundle: Bundle, run: Run): Promise<StateToCarry> {
  const carried: XmlElement[] = [];
  let usable: Buffer | undefined;
  const nvram = await memberOf(bundle, './nvram');
  if (nvram && firmwareOf(vm) === 'UEFI') {
    run.log.warn(
      'libvirt had chosen the firmware of the VM itself (OS/FIRMWARE is UEFI), so its UEFI variables cannot be restored: the guest starts with new ones',
    );
  } else if (nvram && hasUefi(vm)) {
    usable = nvram;
    const attribute = carriedState(nvramKey, nvram);
    if (attribute) carried.push(attribute);
    else
      run.log.warn(
        'the UEFI variables are too large for a template: a VM that is made from it later starts with new ones',
      );
  }
  const tpm = await memberOf(bundle, './tpm.tar');
  if (tpm && hasTpm(vm)) {
    // OpenNebula unpacks the archive with GNU tar, which may read members that our parser does not see. So the archive is
    // written anew, with only what was parsed.
    const attribute = carriedState(tpmStateKey, encodeTpmArchive(parseTpmArchive(tpm)));
    if (attribute) carried.push(attribute);
    else
      run.log.warn('the state of the vTPM is too large for a template: the guest gets a new one');
  }
  return { attributes: carried, nvram: usable };
}

/** The content of a member. @returns undefined when the bundle has no such member. @throws BundleError when it is damaged */
export async function memberOf(bundle: Bundle, member: StateMember): Promise<Buffer | undefined> {
  return await bundle.state.find((file) => file.member === member)?.read();
}
