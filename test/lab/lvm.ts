// LVM lab: a host of its own (user-mode Linux) with a device-mapper, reached by ssh as root and oneadmin.
// VM 20 has thick LVs in vg-one-110, VM 21 thin ones in vg-one-111; VM 23 has LVs of TM lvm in vg-one-130 and vg-one-131,
// and a block device. All are powered off, their LVs inactive.
// Disks: 0 and 1 LVs that the guest writes to, 2 the context, a file. One VM may run at a time: one CPU.
import { startLab, stopLab } from './lab-command.ts';
import { LabVm, type VmPlace } from './lab-vm.ts';
import { runProgram } from './program.ts';

const startScript = new URL('lvm/start-vm.sh', import.meta.url).pathname;

export interface LvmLab {
  /** The host's name, for ssh with this lab's configuration. */
  readonly host: string;
  /** For `ssh -F`. Without a user it means oneadmin. */
  readonly sshConfig: string;
  /** Put first on PATH, its `ssh` is one that uses `sshConfig`. */
  readonly sshFolder: string;
  /** The network device here that leads to the host, and to nothing else. */
  readonly device: string;
  /** VM 20, and where its LVs are. */
  readonly thick: LabVm;
  /** VM 21; its LVs are activated with `lvchange -ay -K` only. */
  readonly thin: LabVm;
  /** VM 23, of TM lvm: besides 0 and 1 it has the disks 3 (volatile), 4 (a CD-ROM) and 5 (TM dev). */
  readonly images: LabVm;
  /** Whether this call started the lab: whoever did may stop it. */
  readonly startedNow: boolean;
  /** Runs a line of shell on the host and gives its stdout. */
  run(line: string, user?: 'root' | 'oneadmin'): Promise<string>;
  /** Copies a volume or file of the host here, 50-70 MB/s. */
  copyOut(path: string, target: string): Promise<void>;
}

/** Starts the lab unless it runs. Installs what is missing. Needs root and Debian. */
export async function upLvm(): Promise<LvmLab> {
  const facts = await startLab('lvm');
  const [host, sshConfig] = [facts.get('host'), facts.get('ssh_config')];
  const run: LvmLab['run'] = (line, user = 'root') =>
    runProgram('ssh', ['-F', sshConfig, `${user}@${host}`, line]);
  const place: VmPlace = {
    virsh: (args) => run(['virsh -q -c qemu:///system', ...args.map(quote)].join(' ')),
    // libvirtd is started with the first VM, and keeps a file for each that runs; virsh takes three times as long.
    domains: async () =>
      (await run('ls /run/libvirt/qemu 2>/dev/null || true')).match(/^.*(?=\.xml$)/gm) ?? [],
    xmlFolder: facts.get('folder'),
    controlFolder: `${facts.get('folder')}/run`,
    startScript,
    ended: async (id) => {
      await run(`lvchange -q -an ${groupsOf(id).join(' ')}`);
    },
  };
  return {
    host,
    sshConfig,
    sshFolder: facts.get('ssh_folder'),
    device: facts.get('device'),
    thick: new LabVm(20, '/var/lib/one/datastores/110/20', place),
    thin: new LabVm(21, '/var/lib/one/datastores/111/21', place),
    images: new LabVm(23, '/var/lib/one/datastores/132/23', place),
    startedNow: facts.startedNow,
    run,
    async copyOut(path, target) {
      const script = 'ssh -F "$1" "root@$2" dd "if=$3" bs=1M status=none >"$4"';
      const args = ['-c', script, 'bash', sshConfig, host, path, target];
      await runProgram('bash', args);
    },
  };
}

/** Ends the host with all in it. Its disks are thrown away. */
export async function downLvm(): Promise<void> {
  await stopLab('lvm');
}

/** The volume groups of a VM's disks. */
function groupsOf(id: number): readonly string[] {
  if (id === 23) return ['vg-one-130', 'vg-one-131'];
  return [id === 20 ? 'vg-one-110' : 'vg-one-111'];
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
