// Tells which VM a bundle belongs to. Every OpenNebula gives the same ids, so a VM is identified by its UUID and the second
// in which it was made.
import type { Vm } from './vm.ts';

export interface VmIdentity {
  readonly id: number;
  /** OS/UUID. */
  readonly uuid?: string | undefined;
  /** STIME, epoch seconds. */
  readonly stime?: number | undefined;
}

/** The parts of the identity that a bundle stores beside the id. */
export function identityOf({ uuid, stime }: Vm): {
  readonly uuid?: string;
  readonly stime?: number;
} {
  return { ...(uuid === undefined ? {} : { uuid }), ...(stime === undefined ? {} : { stime }) };
}

/** A VM and the configured name of its OpenNebula; of a VM here, or of the one in a bundle. */
export interface KnownVm {
  readonly vm: VmIdentity;
  readonly cloud?: { readonly name?: string } | undefined;
}

/**
 * Why a bundle does not belong to a VM; undefined when it does.
 * A copy of a front-end has the same VMs, so only the configured names tell such clouds apart.
 */
export function whyOtherVm(bundle: KnownVm, own: KnownVm): string | undefined {
  const { vm, cloud } = bundle;
  if (vm.id !== own.vm.id) return `it is of VM ${vm.id}`;
  const [name, ownName] = [cloud?.name, own.cloud?.name];
  if (name !== undefined && ownName !== undefined && name !== ownName) {
    return `it is of the cloud ${JSON.stringify(name)}`;
  }
  const { uuid, stime } = vm;
  if (uuid !== undefined && own.vm.uuid !== undefined && uuid !== own.vm.uuid) {
    return `it is of another VM ${vm.id}, with the UUID ${JSON.stringify(uuid)}`;
  }
  if (stime !== undefined && own.vm.stime !== undefined && stime !== own.vm.stime) {
    return `it is of another VM ${vm.id}, made at ${inWords(stime)}`;
  }
  const sameUuid = uuid !== undefined && uuid === own.vm.uuid;
  const sameTime = stime !== undefined && stime === own.vm.stime;
  return sameUuid || sameTime ? undefined : `it does not say which VM ${vm.id} it is of`;
}

/** A number in a bundle may not be a valid time. */
function inWords(epochSeconds: number): string {
  const time = new Date(epochSeconds * 1000);
  return Number.isNaN(time.getTime()) ? String(epochSeconds) : time.toISOString();
}
