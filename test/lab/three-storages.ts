// VM 22: on the host of the LVM lab, with disk 0 in the cluster of the Ceph lab, disk 1 on a logical volume (TM lvm), and
// disk 2 in a file. The cluster's ports on loopback are brought there by ssh, as it is on loopback itself.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { CephLab } from './ceph.ts';
import { LabVm } from './lab-vm.ts';
import type { LvmLab } from './lvm.ts';
import { runProgram } from './program.ts';
import { until } from '../support/limits.ts';

const domain = 'one-22';
/** The name of its RBD image in the pool `one`. */
export const imageName = 'one-30-22-0';
const image = `one/${imageName}`;
const volume = 'vg-one-110/vm-one-22-1';
const folder = '/var/lib/one/datastores/142/22';
const there = '/run/lab/three';

export interface ThreeStorages {
  readonly vm: LabVm;
  /** Ends the VM, and removes its disks. */
  close(): Promise<void>;
}

/**
 * Starts the VM.
 * @param scratch a folder here
 */
export async function upThreeStorages(
  lvm: LvmLab,
  ceph: CephLab,
  scratch: string,
): Promise<ThreeStorages> {
  const control = join(scratch, `${domain}.control`);
  const tunnel = await bringPorts(lvm, ceph, control);
  const virsh = (args: readonly string[]): Promise<string> =>
    lvm.run(['virsh -q -c qemu:///system', ...args].join(' '));
  const vm = new LabVm(22, folder, {
    virsh,
    domains: async () => (await virsh(['list', '--name'])).trim().split('\n'),
    xmlFolder: scratch,
    controlFolder: scratch,
    startScript: '/nowhere',
  });
  const close = async (): Promise<void> => {
    if (await vm.isRunning()) await vm.destroy();
    tunnel.kill();
    await once(tunnel, 'close');
    await lvm.run(`lvremove -q -f ${volume}; rm -rf ${folder} ${there}`);
    await ceph.rbd('rm', '--no-progress', image);
    await rm(control, { force: true });
  };
  try {
    await makeDisks(lvm, ceph);
    await writeFile(join(scratch, 'vm-22.running.xml'), await vmXml(ceph));
    await startDomain(lvm, ceph);
    await until(`${domain} is ready`, async () => {
      return (await lvm.run(`cat ${there}/console 2>/dev/null || true`)).includes('guest: ready');
    });
    await vm.ask('ping');
    return { vm, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Brings the ports of mon and OSD there, and the guest's control port here. */
async function bringPorts(lvm: LvmLab, { conf }: CephLab, control: string): Promise<ChildProcess> {
  const mon = /^mon host = (.*)$/m.exec(await readFile(conf, 'utf8'))?.[1] ?? '';
  const pidFile = join(dirname(conf), 'state/run/osd.0.pid');
  const listens = 'ss -Hltnp | grep "\\"ceph-osd\\",pid=$(cat "$1"),"';
  const osd = await runProgram('bash', ['-c', listens, 'bash', pidFile]);
  const ports = [...`${mon}\n${osd}`.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => port);
  const forward = ports.flatMap((port) => ['-R', `127.0.0.1:${port}:127.0.0.1:${port}`]);
  const args = ['-F', lvm.sshConfig, '-S', 'none', '-N', '-o', 'ExitOnForwardFailure=yes'];
  await rm(control, { force: true });
  const back = ['-L', `${control}:${there}/control`, `root@${lvm.host}`];
  return spawn('ssh', [...args, ...forward, ...back], { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function makeDisks(lvm: LvmLab, ceph: CephLab): Promise<void> {
  await ceph.rbd('clone', 'one/one-30@snap', image);
  const [group = '', name = ''] = volume.split('/');
  const ext4 = 'mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0';
  await lvm.run(`set -e
mkdir -p ${folder} ${there}
lvcreate -q -Wn -Zn -L 64M -n ${name} ${group} >/dev/null 2>&1
${ext4} -L b /dev/${volume}
truncate -s 64M ${folder}/disk.2
${ext4} -L c ${folder}/disk.2
ln -s /dev/${volume} ${folder}/disk.1
chown -R oneadmin:oneadmin ${folder} ${there}`);
  for (const path of [ceph.conf, ceph.keyfile]) {
    const send = 'ssh -F "$1" "root@$2" "umask 077; cat >$3; chown oneadmin $3" <"$4"';
    const to = `${there}/${basename(path)}`;
    await runProgram('bash', ['-c', send, 'bash', lvm.sshConfig, lvm.host, to, path]);
  }
}

/** VM 31's, whose disk 0 is such a clone, and whose volatile disk is a file. */
async function vmXml(ceph: CephLab): Promise<string> {
  const of31 = await readFile(join(dirname(ceph.conf), 'vm-31.running.xml'), 'utf8');
  const onVolume = `<DISK><CLONE>YES</CLONE><DATASTORE_ID>110</DATASTORE_ID><DISK_ID>1</DISK_ID><DISK_TYPE>BLOCK</DISK_TYPE><FORMAT>raw</FORMAT><IMAGE_ID>33</IMAGE_ID><SIZE>64</SIZE><TARGET>vdb</TARGET><TM_MAD>lvm</TM_MAD><TYPE>BLOCK</TYPE></DISK>`;
  return of31
    .replace(/<CONTEXT>.*<\/CONTEXT>/s, '')
    .replaceAll(/<(ID|OID|VMID)>(<!\[CDATA\[)?31\b/g, '<$1>$222')
    .replace('one-31<', `${domain}<`)
    .replace('<DISK_ID><![CDATA[1]]>', '<DISK_ID><![CDATA[2]]>')
    .replace('<![CDATA[vdb]]>', '<![CDATA[vdc]]>')
    .replace('<DISK>', () => `${onVolume}<DISK>`)
    .replaceAll(dirname(ceph.conf), there);
}

/** By libvirtd there, which knows the key of the cluster then. */
async function startDomain(lvm: LvmLab, ceph: CephLab): Promise<void> {
  const lab = (name: string): string => new URL(name, import.meta.url).pathname;
  const secret = /<CEPH_SECRET>(?:<!\[CDATA\[)?([0-9a-f-]+)/.exec(await ceph.vm.xml())?.[1] ?? '';
  const port = /,v1:127\.0\.0\.1:(\d+)/.exec(await readFile(ceph.conf, 'utf8'))?.[1] ?? '';
  const send = async (name: string): Promise<string> => {
    const text = (await readFile(lab(name), 'utf8'))
      .replaceAll('@SECRET@', secret)
      .replaceAll('@PORT@', port)
      .replaceAll('@FOLDER@', there);
    const path = `/run/lab/${basename(name)}`;
    const ssh = ['-F', lvm.sshConfig, `root@${lvm.host}`, `cat >${path}`];
    await runProgram('ssh', ssh, { input: text });
    return path;
  };
  await send('libvirt/qemu.conf');
  const [start, key, domainXml] = [
    await send('lvm/run-libvirtd.sh'),
    await send('ceph/secret.xml'),
    await send('lvm/domain-22.xml'),
  ];
  await lvm.run(`set -e
bash ${start}
virsh() { command virsh -q -c qemu:///system "$@" >/dev/null; }
virsh secret-define ${key}
virsh secret-set-value ${secret} --file ${there}/${basename(ceph.keyfile)}
virsh create ${domainXml}`);
}
