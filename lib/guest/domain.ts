// Reads what libvirt knows about a running VM: its domain, the domain's state and its disks. same-disk.ts checks that
// these are the disks that OpenNebula means.
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

/**
 * A disk as libvirt describes it.
 * Format: https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms
 */
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
  /** `<pool>/<image>` of an RBD image; undefined for other disks. */
  readonly rbd: string | undefined;
  /** Whether libvirt is copying or merging it. */
  readonly busy: boolean;
  /** Whether QEMU stops the guest when a write fails for want of space, and repeats the write when it is resumed. */
  readonly stopsWhenFull: boolean;
}

/** Whether the VM's guest runs, according to the VM's state in OpenNebula. */
export function isRunning(vm: Vm): boolean {
  return activityOf(vm.state, vm.lcmState) === 'running';
}

/** Returns the libvirt domain of a VM. @throws UnsupportedError when OpenNebula does not name it. */
export function domainOf(vm: Vm, run: Run): Domain {
  if (vm.deployId !== undefined) return domainAt(run.runner, run.libvirtUri, vm.deployId);
  throw new UnsupportedError(
    `VM ${vm.id} runs, but has no DEPLOY_ID that names its libvirt domain`,
  );
}

/** What is missing here is probably on another machine: the VM's host. */
export class ElsewhereError extends FailedError {}

/**
 * Returns the state of the domain of a VM that should run: `running`, `paused`, ...
 * @throws ElsewhereError when the domain does not exist here, or is shut off.
 */
export async function requireRunning(vm: Vm, domain: Domain): Promise<string> {
  const state = await domainState(domain);
  if (state !== undefined && state !== 'shut off') return state;
  throw new ElsewhereError(
    `VM ${vm.id} should run, but its libvirt domain ${domain.name} ${state === undefined ? 'does not exist on ' + domain.runner.where : 'is shut off'}`,
  );
}

/** What libvirt knows about a domain that runs. */
export interface DomainFacts {
  /** By target. */
  readonly disks: ReadonlyMap<string, DomainDisk>;
  /** The user and group that its QEMU runs as, for chown; undefined if libvirt does not say. */
  readonly owner: string | undefined;
  /** Where AppArmor lets its QEMU make a socket; undefined when AppArmor does not confine it. */
  readonly socketFolder: string | undefined;
  readonly xml: XmlElement;
}

/** Returns what libvirt knows about the domain of a VM that should run. @throws ElsewhereError when it is not here */
export async function domainFacts(vm: Vm, domain: Domain): Promise<DomainFacts> {
  await requireRunning(vm, domain);
  const xml = await dumpXml(domain);
  return { disks: disksOf(xml), owner: ownerOf(xml), socketFolder: socketFolderOf(xml), xml };
}

/**
 * Checks that libvirt has no job for the domain. It runs one job at a time: to begin a second one would take 30 s, with
 * the guest frozen.
 * @throws FailedError when it has one
 */
export async function requireIdle(vm: Vm, domain: Domain): Promise<void> {
  const job = await activeJob(domain);
  if (job !== undefined) {
    throw new FailedError(
      `VM ${vm.id} cannot be dumped now: libvirt has another job for its domain ${domain.name} (${job}); try again when it has ended, or end it with: virsh domjobabort ${domain.name}`,
    );
  }
}

/** @throws UnsupportedError when libvirt has no backup jobs for the domain */
export async function requireBackupJobs(
  vm: Vm,
  domain: Domain,
  { xml }: DomainFacts,
): Promise<void> {
  if (!(await supportsBackup(domain, xml))) {
    throw new UnsupportedError(
      `the disks of VM ${vm.id} cannot be dumped while it runs: libvirt on ${domain.runner.where} has no backup jobs for it (virsh domcapabilities has no <backup supported='yes'/>); that needs newer versions of libvirt and QEMU`,
    );
  }
}

function disksOf(xml: XmlElement): ReadonlyMap<string, DomainDisk> {
  const devices = child(xml, 'devices');
  const disks = devices ? childrenOf(devices, 'disk').map(domainDisk) : [];
  return new Map(disks.map((disk) => [disk.target, disk]));
}

/** Every running domain has this label, even if libvirt does not change the owners of files. */
function ownerOf(xml: XmlElement): string | undefined {
  const dac = childrenOf(xml, 'seclabel').find((label) => attribute(label, 'model') === 'dac');
  const owner = dac ? childText(dac, 'label') : undefined;
  return owner !== undefined && /^[^:\s]+:[^:\s]+$/.test(owner) ? owner : undefined;
}

/**
 * A domain that AppArmor confines may make sockets in the folder that libvirt makes for it, and in no folder of
 * OpenNebula's, unless the administrator has added a rule. Source: virt-aa-helper.c of libvirt, "domain-%d-%.*s".
 */
function socketFolderOf(xml: XmlElement): string | undefined {
  const label = childrenOf(xml, 'seclabel').find((one) => attribute(one, 'model') === 'apparmor');
  if (!label || (childText(label, 'label') ?? '') === '') return undefined;
  const name = Buffer.from(childText(xml, 'name') ?? '').subarray(0, 20);
  return `/var/lib/libvirt/qemu/domain-${attribute(xml, 'id') ?? ''}-${name.toString()}`;
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
    // Without a policy QEMU does this (block/block-backend.c); libvirt calls it enospace.
    stopsWhenFull: ['stop', 'enospace'].includes(
      attribute(child(xml, 'driver'), 'error_policy') ?? 'enospace',
    ),
  };
}
