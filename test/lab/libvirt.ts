// libvirt lab: a libvirtd of its own, and two VMs whose guests write numbers to two disks all the time.
// VM 8 (TM qcow2, DEPLOY_ID a UUID) runs; VM 9 (TM ssh, DEPLOY_ID one-9) is powered off. Both have the
// disks 0 qcow2 (of VM 8 with a backing image), 1 raw and volatile, 2 CD-ROM, 3 persistent qcow2, 4 context.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { askGuest, type GuestCommand } from './guest-control.ts';
import { startLab, stopLab } from './lab-command.ts';
import { runProgram } from './program.ts';

const startVm = new URL('libvirt/start-vm.sh', import.meta.url).pathname;

export interface LibvirtLab {
  /** For `virsh -c`, or LIBVIRT_DEFAULT_URI. */
  readonly uri: string;
  /** Stands for /var/lib/one/datastores. */
  readonly datastores: string;
  /** VM 8: TM qcow2. Running after `upLibvirt`. */
  readonly qcow2: LabVm;
  /** VM 9: TM ssh. Powered off unless somebody started it. */
  readonly ssh: LabVm;
  /** Whether this call started the lab: whoever did may stop it. */
  readonly startedNow: boolean;
}

/** Starts the lab unless it runs. Installs what is missing. Needs root and Debian. */
export async function upLibvirt(): Promise<LibvirtLab> {
  const facts = await startLab('libvirt');
  const [folder, uri, datastores] = [
    facts.get('folder'),
    facts.get('uri'),
    facts.get('datastores'),
  ];
  return {
    uri,
    datastores,
    qcow2: new LabVm(8, { uri, labFolder: folder, vmFolder: join(datastores, '100', '8') }),
    ssh: new LabVm(9, { uri, labFolder: folder, vmFolder: join(datastores, '0', '9') }),
    startedNow: facts.startedNow,
  };
}

/** Ends all guests and the libvirtd. */
export async function downLibvirt(): Promise<void> {
  await stopLab('libvirt');
}

export class LabVm {
  readonly id: number;
  /** The libvirt domain. */
  readonly domain: string;
  /** Its folder on the system datastore, with disk.0 to disk.4. */
  readonly folder: string;
  readonly #uri: string;
  readonly #labFolder: string;

  constructor(
    id: number,
    where: { readonly uri: string; readonly labFolder: string; readonly vmFolder: string },
  ) {
    this.id = id;
    this.domain = `one-${id}`;
    this.folder = where.vmFolder;
    this.#uri = where.uri;
    this.#labFolder = where.labFolder;
  }

  /** The VM's XML in the form of one.vm.info, in the state it is in. */
  async xml(): Promise<string> {
    const state = (await this.isRunning()) ? 'running' : 'poweroff';
    return readFile(join(this.#labFolder, `vm-${this.id}.${state}.xml`), 'utf8');
  }

  /** The path OpenNebula knows: with TM qcow2 a link for most disks. */
  diskPath(diskId: number): string {
    return join(this.folder, `disk.${diskId}`);
  }

  virsh(...args: readonly string[]): Promise<string> {
    return runProgram('virsh', ['-q', '-c', this.#uri, ...args], { timeoutMs: 120_000 });
  }

  async isRunning(): Promise<boolean> {
    return (await this.virsh('list', '--name')).split('\n').includes(this.domain);
  }

  /** Creates the domain unless it runs, and waits until the agent answers. The numbers begin anew. */
  async start(): Promise<void> {
    if (!(await this.isRunning())) {
      await runProgram('bash', [startVm, String(this.id)], { timeoutMs: 240_000 });
    }
  }

  /** Unmounts the disks in the guest and powers it off: both are clean then. */
  async powerOff(): Promise<void> {
    await this.ask('power-off');
    for (let tries = 0; await this.isRunning(); tries += 1) {
      if (tries > 300) throw new Error(`the guest of ${this.domain} does not power off`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Pulls the plug. */
  async destroy(): Promise<void> {
    await this.virsh('destroy', this.domain);
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
    for (let tries = 0; !(await this.#agentState()).includes(`'${state}'`); tries += 1) {
      if (tries > 300) throw new Error(`the agent of ${this.domain} is not ${state}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
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

  ask(command: GuestCommand): Promise<string> {
    return askGuest(join(this.#labFolder, `${this.domain}.control`), command);
  }
}
