// Ceph lab: mon, mgr and one OSD on loopback, pool `one`, cephx user `oneadmin`, and the images of VM 30:
// disk 0 a clone, 1 volatile, 2 CD-ROM, 3 persistent; 4 the context, a file. VM 31 is mixed: disk 0 a clone, 1 a
// volatile disk that is a file on a system datastore of TM shared. Both are powered off; they run in the libvirt
// lab, which must be up for that (`upLibvirt`).
import { join } from 'node:path';
import { startLab, stopLab } from './lab-command.ts';
import { LabVm, type VmPlace } from './lab-vm.ts';
import { runProgram } from './program.ts';

const startScript = new URL('ceph/start-vm.sh', import.meta.url).pathname;

export interface CephLab {
  /** As in the VM's DISKs: CEPH_CONF, CEPH_KEY (a file), CEPH_USER. */
  readonly conf: string;
  readonly keyfile: string;
  readonly user: 'oneadmin';
  readonly pool: 'one';
  /** Stands for /var/lib/one/datastores. */
  readonly datastores: string;
  /** VM 30. */
  readonly vm: LabVm;
  /** VM 31: image on Ceph, volatile disk in a file. */
  readonly mixed: LabVm;
  /** Disk 0 of VM 31. */
  readonly mixedImage: string;
  /** The image of each disk, by DISK_ID. */
  readonly images: readonly [string, string, string, string];
  /** Whether this call started the lab: whoever did may stop it. */
  readonly startedNow: boolean;
  /** Runs rbd as oneadmin and gives its stdout. */
  rbd(...args: readonly string[]): Promise<string>;
}

/** Starts the lab unless it runs. Installs what is missing. Needs root and Debian. */
export async function upCeph(): Promise<CephLab> {
  const facts = await startLab('ceph');
  const [conf, keyfile] = [facts.get('conf'), facts.get('keyfile')];
  const datastores = facts.get('datastores');
  const uri = facts.get('libvirt_uri');
  const virsh: VmPlace['virsh'] = (args) => runProgram('virsh', ['-q', '-c', uri, ...args]);
  const place: VmPlace = {
    virsh,
    domains: async () => {
      const names = await virsh(['list', '--name']).catch(noLibvirt);
      return names.trim().split('\n');
    },
    xmlFolder: facts.get('folder'),
    controlFolder: facts.get('folder'),
    startScript,
  };
  const access = ['--id', 'oneadmin', '--keyfile', keyfile, '--conf', conf];
  return {
    conf,
    keyfile,
    user: 'oneadmin',
    pool: 'one',
    datastores,
    images: ['one/one-30-30-0', 'one/one-sys-30-1', 'one/one-31', 'one/one-32'],
    vm: new LabVm(30, join(datastores, '140', '30'), place),
    mixed: new LabVm(31, join(datastores, '142', '31'), place),
    mixedImage: 'one/one-30-31-0',
    startedNow: facts.startedNow,
    rbd: (...args) => runProgram('rbd', [...access, ...args]),
  };
}

/** Ends the cluster and throws it away. */
export async function downCeph(): Promise<void> {
  await stopLab('ceph');
}

/** Without the libvirt lab no VM runs; without its packages neither. */
function noLibvirt(error: unknown): string {
  if (error instanceof Error && /Failed to connect socket|ENOENT/.test(error.message)) return '';
  throw error;
}
