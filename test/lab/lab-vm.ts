// A VM of a lab: its XML, its domain, and its guest, which writes numbers to its first two disks all the
// time (numbers.ts) and obeys on a port of its own (guest-control.ts).
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { askGuest, type GuestCommand } from './guest-control.ts';
import { runProgram } from './program.ts';
import { until } from '../support/limits.ts';

/** Where a VM lives, and how that place is reached. */
export interface VmPlace {
  /** Runs virsh with these arguments and gives its stdout. */
  virsh(args: readonly string[]): Promise<string>;
  /** The domains that run there. */
  domains(): Promise<readonly string[]>;
  /** Has vm-<id>.running.xml and vm-<id>.poweroff.xml. */
  readonly xmlFolder: string;
  /** Has the guest's control port, one-<id>.control. */
  readonly controlFolder: string;
  /** Starts a VM, given its id, and whom QEMU is to run as. */
  readonly startScript: string;
  /** What OpenNebula does on the host when the VM with this id has ended. */
  ended?(id: number): Promise<void>;
}

export class LabVm {
  readonly id: number;
  /** The libvirt domain. */
  readonly domain: string;
  /** Its folder on the system datastore, with disk.0 and the others; on the machine where it runs. */
  readonly folder: string;
  readonly #place: VmPlace;
  #furtherDisk = '';
  #owner: readonly string[] = [];

  constructor(id: number, folder: string, place: VmPlace) {
    this.id = id;
    this.domain = `one-${id}`;
    this.folder = folder;
    this.#place = place;
  }

  /** The VM's XML in the form of one.vm.info, in the state it is in. */
  async xml(): Promise<string> {
    const state = (await this.isRunning()) ? 'running' : 'poweroff';
    const xml = await readFile(join(this.#place.xmlFolder, `vm-${this.id}.${state}.xml`), 'utf8');
    return xml.replace('<TEMPLATE>', () => `<TEMPLATE>${this.#furtherDisk}`);
  }

  /** From now on the XML has this DISK, too, as after `onevm disk-attach`; undefined: no more. */
  withDisk(xml: string | undefined): void {
    this.#furtherDisk = xml ?? '';
  }

  /** From now on `start` has QEMU run as this user, `UID:GID`, as on OpenNebula's hosts; undefined: as root. */
  runAs(owner: string | undefined): void {
    this.#owner = owner === undefined ? [] : [owner];
  }

  /** The path OpenNebula knows: with TM qcow2 a link for most disks. */
  diskPath(diskId: number): string {
    return join(this.folder, `disk.${diskId}`);
  }

  virsh(...args: readonly string[]): Promise<string> {
    return this.#place.virsh(args);
  }

  async isRunning(): Promise<boolean> {
    return (await this.#place.domains()).includes(this.domain);
  }

  /** Creates the domain unless it runs, and waits until the agent answers. The numbers begin anew. */
  async start(): Promise<void> {
    if (!(await this.isRunning())) {
      const args = [this.#place.startScript, String(this.id), ...this.#owner];
      await runProgram('bash', args);
    }
  }

  /** Unmounts the disks in the guest and powers it off: both are clean then. */
  async powerOff(): Promise<void> {
    await this.ask('power-off');
    await until(`${this.domain} is powered off`, async () => !(await this.isRunning()));
    await this.#place.ended?.(this.id);
  }

  /** Pulls the plug. */
  async destroy(): Promise<void> {
    await this.virsh('destroy', this.domain);
    await this.#place.ended?.(this.id);
  }

  /** Stops the agent's process without the port being closed: libvirt waits for its answers. */
  async hangAgent(): Promise<void> {
    await this.ask('hang-agent');
  }

  /** Lets the agent go on. It then does what was asked of it meanwhile: a freeze, too. */
  async resumeAgent(): Promise<void> {
    await this.ask('resume-agent');
  }

  /** Ends the agent: libvirt says that it is not connected. */
  async stopAgent(): Promise<void> {
    await this.ask('stop-agent');
    await this.#agentIs('disconnected');
  }

  async startAgent(): Promise<void> {
    await this.ask('start-agent');
    await this.#agentIs('connected');
  }

  async #agentIs(state: 'connected' | 'disconnected'): Promise<void> {
    const is = async () => (await this.#agentState()).includes(`'${state}'`);
    await until(`the agent of ${this.domain} is ${state}`, is);
  }

  async #agentState(): Promise<string> {
    const xml = await this.virsh('dumpxml', this.domain);
    return /<target type='virtio' name='org\.qemu\.guest_agent\.0'[^>]*>/.exec(xml)?.[0] ?? '';
  }

  /** Whether the guest's file systems are frozen, as its writer feels it; the agent is not asked. */
  async isFrozen(): Promise<boolean> {
    const place = await this.ask('where-writer-waits');
    if (place.includes('signal_stop')) throw new Error('a paused writer cannot tell');
    return place.includes('percpu_rwsem');
  }

  /** The last number that the guest wrote to both disks. */
  async lastNumber(): Promise<number> {
    return Number(await this.ask('number'));
  }

  /** Stops writing and flushes: from then on the disks do not change until `continueWriter`. */
  async pauseWriter(): Promise<void> {
    await this.ask('pause-writer');
  }

  async continueWriter(): Promise<void> {
    await this.ask('continue-writer');
  }

  /**
   * Has the guest write to the first `mib` MiB, a multiple of 4, of a file or disk of its own again and again, past
   * its page cache, until `stopLoad`.
   * @param pauseUs after each 4 MiB
   */
  async startLoad(file: string, mib: number, pauseUs?: number): Promise<void> {
    await this.ask(`load-start ${file} ${mib} ${pauseUs ?? ''}`);
  }

  async stopLoad(): Promise<void> {
    await this.ask('load-stop');
  }

  /** How many MiB the load has written by now. @throws Error when one of its writes failed */
  async loadWritten(): Promise<number> {
    return Number(await this.ask('load-written'));
  }

  /** How many errors of disks and file systems the guest's kernel has reported. */
  async kernelErrors(): Promise<number> {
    return Number(await this.ask('kernel-errors'));
  }

  ask(command: GuestCommand): Promise<string> {
    return askGuest(this.controlPath, command);
  }

  /** The socket of the guest's control port. It serves one caller at a time. */
  get controlPath(): string {
    return join(this.#place.controlFolder, `${this.domain}.control`);
  }
}
