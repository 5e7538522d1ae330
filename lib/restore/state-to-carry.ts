// What the old VM kept beside its disks comes back through the template: its folder, where it is to lie, does not exist yet.
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
  /** Of the template. */
  readonly attributes: readonly XmlElement[];
  /** UEFI variables to put into the folder of a VM; undefined where there are none, or none that can be put back. */
  readonly nvram: Buffer | undefined;
}

/**
 * What comes back, and how.
 * @throws BundleError when it is damaged, or is something else than it should be
 */
export async function stateToCarry(vm: Vm, bundle: Bundle, run: Run): Promise<StateToCarry> {
  const carried: XmlElement[] = [];
  let usable: Buffer | undefined;
  const nvram = await memberOf(bundle, './nvram');
  if (nvram && firmwareOf(vm) === 'UEFI') {
    run.log.warn(
      'the UEFI variables in the bundle are of a firmware that libvirt had chosen itself (OS/FIRMWARE is UEFI); they cannot be put back: the guest starts with new ones',
    );
  } else if (nvram && hasUefi(vm)) {
    usable = nvram;
    const attribute = carriedState(nvramKey, nvram);
    if (attribute) carried.push(attribute);
    else
      run.log.warn(
        'the UEFI variables are too large for a template: a VM that is made of it later starts with new ones',
      );
  }
  const tpm = await memberOf(bundle, './tpm.tar');
  if (tpm && hasTpm(vm)) {
    // OpenNebula unpacks it into the folder of the VM, by GNU tar, which may see more in it than we do: it gets one of ours.
    const attribute = carriedState(tpmStateKey, encodeTpmArchive(parseTpmArchive(tpm)));
    if (attribute) carried.push(attribute);
    else
      run.log.warn('the state of the vTPM is too large for a template: the guest gets a new one');
  }
  return { attributes: carried, nvram: usable };
}

/** @returns undefined when the bundle has no such member. @throws BundleError when it is damaged */
export async function memberOf(bundle: Bundle, member: StateMember): Promise<Buffer | undefined> {
  return await bundle.state.find((file) => file.member === member)?.read();
}
