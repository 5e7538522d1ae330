// A scene whose disks are on a host, and whose bundles go to another one: the labs of this machine behind a real
// sshd, under an account that has what OpenNebula's oneadmin has on its hosts, and a third account for bundles.
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sh } from '../demo/shell.ts';
import { makeStandIns, usualPrograms } from '../e2e/stand-ins.ts';
import { processesWith } from '../run/ssh-support.ts';
import { startSshd, type TestSshd } from '../run/sshd.ts';
import { makeAccount, type Account } from './accounts.ts';
import { makeScene, type ExportScene } from './export-scene.ts';
import { answerRequests } from './requests.ts';
import type { LabVm } from './lab-vm.ts';

export interface RemoteScene extends ExportScene {
  readonly sshd: TestSshd;
  /** Whom the disks, and QEMU, belong to. */
  readonly host: Account;
  /** Whom bundles belong to. */
  readonly store: Account;
  /** First on PATH on the host. */
  readonly hostBin: string;
  /** Gives the host's account a VM: it must be off. The socket of libvirt is given, too. */
  give(vm: LabVm, more?: readonly string[]): Promise<void>;
  /** What an export may have left on the host, and of connections; what ends by itself gets some seconds for it. */
  leftThere(seconds?: number): Promise<object>;
}

/** What `leftThere` says when nothing is. */
export const nothingThere = { processes: [], folders: [], connections: [] };

export interface RemoteOptions {
  /** The URI of the lab's libvirt. */
  readonly uri: string;
  readonly datastores: string;
  /** Whether bundles stay on this machine. */
  readonly bundlesHere?: boolean;
}

/** Makes the accounts, and starts sshd. */
export async function makeRemoteScene({
  uri,
  datastores,
  bundlesHere = false,
}: RemoteOptions): Promise<RemoteScene> {
  const host = await makeAccount('host');
  const store = await makeAccount('store');
  let command: number | undefined;
  const options = { ONEVMDUMP_DATASTORE_LOCATION: datastores, ONEVMDUMP_LIBVIRT_URI: uri };
  const bins: string[] = [];
  const sshd = await startSshd({
    shell: `. "$(dirname "$0")/path"; exec sh -c "$SSH_ORIGINAL_COMMAND"`,
  });
  const to = bundlesHere ? [] : ['--destination-host', sshd.host, '--destination-user', store.name];
  const scene = await makeScene({ ...options, PATH: `${sshd.bin}:${process.env['PATH'] ?? ''}` }, [
    '--remote-host',
    sshd.host,
    '--remote-user',
    host.name,
    ...to,
  ]);
  const hostBin = join(scene.folder, 'host-bin');
  bins.push(hostBin, join(scene.folder, 'stand-ins'));
  await mkdir(hostBin);
  await writeFile(join(sshd.folder, 'path'), `export PATH='${bins.join(':')}':$PATH\n`);
  await chmod(scene.folder, 0o755);
  if (!bundlesHere) await sh('chown', store.owner, scene.bundles);
  const requests = await answerRequests(join(scene.folder, 'requests'), async (what) => {
    if (command === undefined) return;
    process.kill(command, what);
    // Who goes on is the one that was meant to see it.
    for (let tries = 0; what === 'SIGKILL' && (await isThere(command)) && tries < 100; tries++) {
      await sleep(20);
    }
    await sleep(100);
  });
  const given: { readonly vm: LabVm; readonly paths: readonly string[] }[] = [];
  const socket = new URL(uri.replace('qemu+unix:', 'http://x')).searchParams.get('socket') ?? '';

  const leftNow = async (): Promise<object> => ({
    processes: [...(await host.processes()), ...(await store.processes())],
    folders:
      (await sh('find', '/tmp', '-maxdepth', '1', '-name', 'onevmdump-*', '(', '-user', host.name, '-o', '-user', store.name, ')')) // prettier-ignore
        .split('\n')
        .filter(Boolean),
    connections: await processesWith(sshd.host, 'ssh'),
  });

  const remote: RemoteScene = {
    ...scene,
    ...{ sshd, host, store, hostBin },
    exportOf: (vm, args, more = {}) =>
      scene.exportOf(vm, args, {
        ...more,
        started(pid) {
          command = pid;
          more.started?.(pid);
        },
      }),
    async give(vm, more = []) {
      const paths = [vm.folder, ...more];
      given.push({ vm, paths });
      await sh('chown', '-R', host.owner, ...paths);
      await sh('chgrp', host.owner.split(':')[1] ?? '', socket);
      vm.runAs(host.owner);
    },
    async leftThere(seconds = 5) {
      let left = await leftNow();
      for (let tries = 0; tries < seconds * 4; tries++) {
        if (JSON.stringify(left) === JSON.stringify(nothingThere)) break;
        await sleep(250);
        left = await leftNow();
      }
      return left;
    },
    left: async () => ({ ...(await remote.leftThere()), ...(await scene.left()) }),
    async standIns() {
      // The keeper of a connection calls head every now and then.
      const programs = usualPrograms.filter((one) => one !== 'head');
      const standIns = await makeStandIns(scene.folder, {
        programs: [...programs, 'dd', 'ln', 'sh', 'sync'],
        signal: requests.ask('$action'),
      });
      const [bin = ''] = standIns.env['PATH']?.split(':') ?? [];
      const list = join(dirname(bin), 'called');
      return {
        ...standIns,
        env: { PATH: `${bin}:${scene.env['PATH'] ?? ''}` },
        async reset(at, then) {
          await standIns.reset(at, then);
          await writeFile(`${list}.lock`, '');
          for (const path of [list, `${list}.lock`]) await chmod(path, 0o666);
        },
      };
    },
    async close() {
      await requests.close();
      await sshd.stop();
      await sh('chgrp', 'root', socket);
      for (const { vm, paths } of given) {
        await sh('chown', '-R', 'root:root', ...paths);
        vm.runAs(undefined);
      }
      await scene.close();
      for (const account of [host, store]) await account.remove();
    },
  };
  return remote;
}

async function isThere(pid: number): Promise<boolean> {
  return (await readdir('/proc')).includes(String(pid));
}
