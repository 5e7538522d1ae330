// What OpenNebula's own `restore` of a TM driver does with a disk that it has fetched from a backup.
import { storageModules } from './registry.ts';
import type { RestoreFacts } from './storage.ts';

/**
 * Whether a TM driver's `restore` takes a raw disk for raw. Others (ceph, fs_lvm_ssh from 7.0 on, lvm) run
 * `qemu-img convert` without a format: a guest that has written the header of a qcow2 image into its raw disk would get
 * what that header names, such as a file of the host. They must get raw disks wrapped, and so must what nobody knows.
 */
export function takesRawAsIs(tmMad: string | undefined): boolean {
  return factsOf(tmMad)?.movesDisks === true;
}

/** Whether a TM driver's `restore` puts back the state of a vTPM, given that OpenNebula makes VMs with one (7.2 on). */
export function takesTpm(tmMad: string | undefined): boolean {
  return factsOf(tmMad)?.unpacksTpm === true;
}

function factsOf(tmMad: string | undefined): RestoreFacts | undefined {
  const found = storageModules.find((module) => Object.hasOwn(module.tmMads, tmMad ?? ''));
  return tmMad === undefined ? undefined : found?.tmMads[tmMad];
}
