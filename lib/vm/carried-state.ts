// UEFI variables and vTPM state as attributes of a template. A restored template carries them, because the VM's folder, where
// they belong, exists only after the VM is deployed.
import { gunzipSync, gzipSync } from 'node:zlib';
import type { XmlElement } from '../xml/xml.ts';
import { child, childText } from '../xml/xml.ts';
import type { Vm } from './vm.ts';

/** Read by OpenNebula itself (vmm_mad/remotes/kvm/deploy, 7.2 on): a compressed tar archive in base64. */
export const tpmStateKey = 'TPM_STATE';
/** Read by our hook `restore_nvram`: the file, compressed with gzip, in base64. */
export const nvramKey = 'ONEVMDUMP_NVRAM';

/** Bytes of text in a template. Every hook, driver and page that shows the VM gets the whole text. */
const largestText = 512 * 1024;
/** Bytes; the size of the flash of an aarch64 machine. */
const largestNvram = 64 * 1024 * 1024;

/** The attribute that carries these bytes; undefined when they are too large for a template. */
export function carriedState(
  key: typeof tpmStateKey | typeof nvramKey,
  bytes: Uint8Array,
): XmlElement | undefined {
  const text = gzipSync(bytes, { level: 9 }).toString('base64');
  return text.length > largestText ? undefined : { name: key, text, children: [] };
}

/** The UEFI variables in a VM's user template; undefined when there are none, or they are not valid. */
export function carriedNvram(vm: Pick<Vm, 'userTemplate'>): Buffer | undefined {
  const text = childText(vm.userTemplate, nvramKey) ?? '';
  if (text === '' || text.length > largestText) return undefined;
  try {
    return gunzipSync(Buffer.from(text, 'base64'), { maxOutputLength: largestNvram });
  } catch {
    return undefined;
  }
}

/** Whether a VM's firmware is UEFI. OpenNebula treats an empty FIRMWARE and BIOS as not UEFI. */
export function hasUefi({ template }: Pick<Vm, 'template'>): boolean {
  const firmware = firmwareOf({ template });
  return firmware !== '' && firmware !== 'BIOS';
}

/** OS/FIRMWARE in capitals; empty when it is not set. With `UEFI` (7.4) libvirt chooses the firmware and keeps its variables. */
export function firmwareOf({ template }: Pick<Vm, 'template'>): string {
  const os = child(template, 'OS');
  return ((os && childText(os, 'FIRMWARE')) ?? '').trim().toUpperCase();
}

/** Whether a VM has a vTPM: OpenNebula makes one when TPM has a MODEL (7.2 and newer). */
export function hasTpm({ template }: Pick<Vm, 'template'>): boolean {
  const tpm = child(template, 'TPM');
  return ((tpm && childText(tpm, 'MODEL')) ?? '').trim() !== '';
}
