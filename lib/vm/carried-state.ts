// What a VM keeps beside its disks, on its way through a restored template: the folder in which it is to lie exists only when the
// VM is deployed.
import { gunzipSync, gzipSync } from 'node:zlib';
import type { XmlElement } from '../xml/xml.ts';
import { child, childText } from '../xml/xml.ts';
import type { Vm } from './vm.ts';

/** Read by OpenNebula itself (vmm_mad/remotes/kvm/deploy, 7.2 on): a compressed tar archive in base64. */
export const tpmStateKey = 'TPM_STATE';
/** Read by our hook `restore_nvram`: the file, compressed by gzip, in base64. */
export const nvramKey = 'ONEVMDUMP_NVRAM';

/** Bytes of text in a template. Hooks, drivers and users' pages get all of it each time. */
const largestText = 512 * 1024;
/** Bytes: the flash of an aarch64 machine. */
const largestNvram = 64 * 1024 * 1024;

/** The attribute that carries these bytes; undefined when they are too many for a template. */
export function carriedState(
  key: typeof tpmStateKey | typeof nvramKey,
  bytes: Uint8Array,
): XmlElement | undefined {
  const text = gzipSync(bytes, { level: 9 }).toString('base64');
  return text.length > largestText ? undefined : { name: key, text, children: [] };
}

/** The UEFI variables that a VM's template carries; undefined when it carries none, or none that can be used. */
export function carriedNvram(vm: Pick<Vm, 'userTemplate'>): Buffer | undefined {
  const text = childText(vm.userTemplate, nvramKey) ?? '';
  if (text === '' || text.length > largestText) return undefined;
  try {
    return gunzipSync(Buffer.from(text, 'base64'), { maxOutputLength: largestNvram });
  } catch {
    return undefined;
  }
}

/** Whether a VM's firmware is UEFI. OpenNebula takes an empty FIRMWARE, and BIOS, for none. */
export function hasUefi({ template }: Pick<Vm, 'template'>): boolean {
  const firmware = firmwareOf({ template });
  return firmware !== '' && firmware !== 'BIOS';
}

/** OS/FIRMWARE in capitals; empty where it is not set. `UEFI` (7.4): libvirt chooses one, and keeps its variables. */
export function firmwareOf({ template }: Pick<Vm, 'template'>): string {
  const os = child(template, 'OS');
  return ((os && childText(os, 'FIRMWARE')) ?? '').trim().toUpperCase();
}

/** Whether a VM has a vTPM: OpenNebula makes one where TPM has a MODEL (7.2 on). */
export function hasTpm({ template }: Pick<Vm, 'template'>): boolean {
  const tpm = child(template, 'TPM');
  return ((tpm && childText(tpm, 'MODEL')) ?? '').trim() !== '';
}
