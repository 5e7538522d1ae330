// libvirt lab: a libvirtd of its own, and two VMs whose guests write numbers to two disks all the time.
// VM 8 (TM qcow2, DEPLOY_ID a UUID) runs; VM 9 (TM ssh, DEPLOY_ID one-9) is powered off. Both have the
// disks 0 qcow2 (of VM 8 with a backing image), 1 raw and volatile, 2 CD-ROM, 3 persistent qcow2, 4 context.
import { join } from 'node:path';
import { startLab, stopLab } from './lab-command.ts';
import { LabVm, type VmPlace } from './lab-vm.ts';
import { runProgram } from './program.ts';

const restartScript = new URL('libvirt/restart.sh', import.meta.url).pathname;
const startScript = new URL('libvirt/start-vm.sh', import.meta.url).pathname;

export interface LibvirtLab {
  /** For `virsh -c`, or LIBVIRT_DEFAULT_URI. */
  readonly uri: string;
  /** Stands for /var/lib/one/datastores. */
  readonly datastores: string;
  /** VM 8: TM qcow2. Running after `upLibvirt`. */
  readonly qcow2: LabVm;
  /** VM 9: TM ssh. Powered off unless somebody started it. */
  readonly ssh: LabVm;
  /**
   * VM 10: TM qcow2, on a system datastore of 64 MiB; its disk 3 has 1088 MiB, empty at first. Powered off unless
   * somebody started it.
   */
  readonly small: LabVm;
  /** Whether this call started the lab: whoever did may stop it. */
  readonly startedNow: boolean;
  /** Ends libvirtd and starts it again; guests run on. */
  restartLibvirtd(): Promise<void>;
}

/** Starts the lab unless it runs. Installs what is missing. Needs root and Debian. */
export async function upLibvirt(): Promise<LibvirtLab> {
  const facts = await startLab('libvirt');
  const uri = facts.get('uri');
  const datastores = facts.get('datastores');
  const virsh: VmPlace['virsh'] = (args) => runProgram('virsh', ['-q', '-c', uri, ...args]);
  const place: VmPlace = {
    virsh,
    domains: async () => (await virsh(['list', '--name'])).trim().split('\n'),
    xmlFolder: facts.get('folder'),
    controlFolder: facts.get('folder'),
    startScript,
  };
  return {
    uri,
    datastores,
    qcow2: new LabVm(8, join(datastores, '100', '8'), place),
    ssh: new LabVm(9, join(datastores, '0', '9'), place),
    small: new LabVm(10, join(datastores, '102', '10'), place),
    startedNow: facts.startedNow,
    async restartLibvirtd() {
      await runProgram('bash', [restartScript]);
    },
  };
}

/** Ends all guests and the libvirtd. */
export async function downLibvirt(): Promise<void> {
  await stopLab('libvirt');
}
