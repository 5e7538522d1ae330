// What libvirt knows of a running VM: its domain and its disks, and whether they are the ones that
// OpenNebula speaks of.
import { attribute, child, childrenOf, childText, type XmlElement } from '../xml/xml.ts';
import { FailedError, UnsupportedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import {
  activeJob,
  domainAt,
  domainState,
  dumpXml,
  supportsBackup,
  type Domain,
} from '../tools/virsh.ts';
import { activityOf } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';

/** A disk as libvirt has it. Format: https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms */
export interface DomainDisk {
  /** The device in the guest, such as vda. */
  readonly target: string;
  /** `file`, `block`, `network`. */
  readonly type: string;
  /** `raw`, `qcow2`. */
  readonly format: string | undefined;
  /** The file that QEMU writes to; undefined for other types, and for an empty drive. */
  readonly file: string | undefined;
  /** The block device that QEMU writes to; undefined for other types. */
  readonly device: string | undefined;
  /** `<pool>/<image>` of an RBD image; undefined for everything else. */
  readonly rbd: string | undefined;
  /** Whether it is being copied or merged. */
  readonly busy: boolean;
}

/** Whether a VM in this state has a guest that runs. */
export function isRunning(vm: Vm): boolean {
  return activityOf(vm.state, vm.lcmState) === 'running';
}

/** The libvirt domain of a VM. @throws UnsupportedError when OpenNebula names none. */
export function domainOf(vm: Vm, run: Run): Domain {
  if (vm.deployId !== undefined) return domainAt(run.runner, run.libvirtUri, vm.deployId);
  throw new UnsupportedError(
    `VM ${vm.id} runs, but has no DEPLOY_ID that names its libvirt domain`,
  );
}

/** What is needed is on another machine, it seems: on the VM's host. */
export class ElsewhereError extends FailedError {}

/**
 * The state of a domain that is to be dumped: `running`, `paused`, ...
 * @throws ElsewhereError when it does not run.
 */
export async function requireRunning(vm: Vm, domain: Domain): Promise<string> {
  const state = await domainState(domain);
  if (state !== undefined && state !== 'shut off') return state;
  throw new ElsewhereError(
    `VM ${vm.id} should run, but its libvirt domain ${domain.name} ${state === undefined ? 'does not exist on ' + domain.runner.where : 'is shut off'}`,
  );
}

/** A domain that libvirt has no job for. */
export interface IdleDomain {
  /** By their target. */
  readonly disks: ReadonlyMap<string, DomainDisk>;
  /** Whom its QEMU runs as, for chown; undefined where libvirt does not say. */
  readonly owner: string | undefined;
}

/**
 * The disks of a domain of which a backup job can be begun, and whom QEMU runs as. libvirt does one job at a time: one
 * that runs already would have us wait for 30 s with the guest frozen.
 * @throws FailedError when the domain has a job, UnsupportedError when libvirt has no backup jobs.
 */
export async function requireIdle(vm: Vm, domain: Domain): Promise<IdleDomain> {
  await requireRunning(vm, domain);
  const job = await activeJob(domain);
  if (job !== undefined) {
    throw new FailedError(
      `VM ${vm.id} cannot be dumped now: libvirt has another job for its domain ${domain.name} (${job}); try again when it has ended, or end it with: virsh domjobabort ${domain.name}`,
    );
  }
  const xml = await dumpXml(domain);
  if (!(await supportsBackup(domain, xml))) {
    throw new UnsupportedError(
      `the disks of VM ${vm.id} cannot be dumped while it runs: libvirt on ${domain.runner.where} has no backup jobs for it (virsh domcapabilities has no <backup supported='yes'/>); that needs newer versions of libvirt and QEMU`,
    );
  }
  return { disks: disksOf(xml), owner: ownerOf(xml) };
}

/** The disks of the domain by their target. */
export async function domainDisks(domain: Domain): Promise<ReadonlyMap<string, DomainDisk>> {
  return disksOf(await dumpXml(domain));
}

function disksOf(xml: XmlElement): ReadonlyMap<string, DomainDisk> {
  const devices = child(xml, 'devices');
  const disks = devices ? childrenOf(devices, 'disk').map(domainDisk) : [];
  return new Map(disks.map((disk) => [disk.target, disk]));
}

/** libvirt has this label on all that run, also where it changes no file's owner. */
function ownerOf(xml: XmlElement): string | undefined {
  const dac = childrenOf(xml, 'seclabel').find((label) => attribute(label, 'model') === 'dac');
  const owner = dac ? childText(dac, 'label') : undefined;
  return owner !== undefined && /^[^:\s]+:[^:\s]+$/.test(owner) ? owner : undefined;
}

function domainDisk(xml: XmlElement): DomainDisk {
  const source = child(xml, 'source');
  return {
    target: attribute(child(xml, 'target'), 'dev') ?? '',
    type: attribute(xml, 'type') ?? '',
    format: attribute(child(xml, 'driver'), 'type'),
    file: attribute(source, 'file'),
    device: attribute(source, 'dev'),
    rbd: attribute(source, 'protocol') === 'rbd' ? attribute(source, 'name') : undefined,
    busy: child(xml, 'mirror') !== undefined,
  };
}
