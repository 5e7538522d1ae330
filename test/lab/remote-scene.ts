// A scene whose disks are on a host, and whose bundles go to another one: the labs of this machine behind a real
// sshd, under an account that has what OpenNebula's oneadmin has on its hosts, and a third account for bundles.
import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sh } from '../support/shell.ts';
import { makeStandIns, programsBySsh } from '../support/fake-programs.ts';
import { processesWith } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';
import { makeAccount, type Account } from './accounts.ts';
import { makeScene, type ExportScene } from './export-scene.ts';
import { answerRequests, signal } from './requests.ts';
import type { LabVm } from './lab-vm.ts';
import { limits } from '../support/limits.ts';

export interface RemoteScene extends ExportScene {
  readonly sshd: TestSshd;
  /** Whom the disks, and QEMU, belong to. */
  readonly host: Account;
  /** Whom bundles belong to. */
  readonly store: Account;
  /** Meddles with the first call on a host that is meant; until `undisturbed`. */
  disturb(disturbance: Disturbance): Promise<void>;
  undisturbed(): Promise<void>;
  /** Gives the host's account a VM: it must be off. The socket of libvirt is given, too. */
  give(vm: LabVm, more?: readonly string[]): Promise<void>;
  /** What ends by itself gets the time for it. */
  left(): Promise<object>;
  /** Makes the host one that cannot be reached any more, or can again. Connections that are there stay. */
  setAway(away: boolean): Promise<void>;
}

export interface Disturbance {
  readonly program: string;
  /** One of its arguments, or a string in an argument that is JSON. */
  readonly word: string;
  readonly when: 'before' | 'after';
  /** Done by this process while the program's caller waits. */
  readonly act: () => Promise<unknown>;
}

/** What `left` says when nothing is. */
export const nothingLeft = {
  ...{ processes: [], folders: [], connections: [] },
  ...{ journals: [], parts: [], bundles: [] },
};

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
    // A profile that talks, and a PATH without the folders of admin tools.
    shell: `PATH=/usr/bin:/bin; echo Welcome; echo 'warning: disk full' >&2
. "$(dirname "$0")/path"; exec sh -c "$SSH_ORIGINAL_COMMAND"`,
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
  const disturbances: Disturbance[] = [];
  const requests = await answerRequests(join(scene.folder, 'requests'), async (what) => {
    const disturbance = disturbances[Number(what)];
    if (disturbance) await disturbance.act();
    else if (command !== undefined) await signal(command, what);
  });
  const given: { readonly vm: LabVm; readonly paths: readonly string[] }[] = [];
  const socket = new URL(uri.replace('qemu+unix:', 'http://x')).searchParams.get('socket') ?? '';

  const leftThere = async (): Promise<Record<string, readonly unknown[]>> => ({
    processes: [...(await host.processes()), ...(await store.processes())],
    folders:
      (await sh('find', '/tmp', '-maxdepth', '1', '-name', 'onevmdump-*', '(', '-user', host.name, '-o', '-user', store.name, ')')) // prettier-ignore
        .split('\n')
        .filter(Boolean),
    connections: await processesWith(sshd.host, 'ssh'),
  });

  return {
    ...scene,
    ...{ sshd, host, store },
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
    async left() {
      const end = performance.now() + limits.soonMs;
      let there = await leftThere();
      while (Object.values(there).some(({ length }) => length > 0) && performance.now() < end) {
        await sleep(250);
        there = await leftThere();
      }
      return { ...there, ...(await scene.left()) };
    },
    setAway: (away) => sshd.configure(away ? `Host ${sshd.host}\n  Port 1` : ''),
    async disturb(disturbance) {
      const { program, word, when } = disturbance;
      const number = disturbances.push(disturbance) - 1;
      const real = (await sh('bash', '-c', `type -P ${program}`)).trim();
      const once = `if ! [ -e '${scene.folder}/done-${number}' ] && [[ " $* " == *[' "']'${word}'[' "']* ]]; then
  ${requests.ask(String(number))}
fi`;
      const script = `#!/bin/bash
${when === 'before' ? once : ''}
'${real}' "$@"
status=$?
${when === 'after' ? once : ''}
exit $status
`;
      let acted = false;
      disturbances[number] = {
        ...disturbance,
        async act() {
          // Calls at the same time have all asked.
          if (acted) return;
          acted = true;
          await writeFile(join(scene.folder, `done-${number}`), '');
          await disturbance.act();
        },
      };
      await writeFile(join(hostBin, program), script, { mode: 0o755 });
    },
    async undisturbed() {
      for (const name of await readdir(hostBin)) await rm(join(hostBin, name));
    },
    async standIns() {
      const standIns = await makeStandIns(scene.folder, {
        programs: programsBySsh,
        signal: requests.ask('$action'),
      });
      const [bin = ''] = standIns.env['PATH']?.split(':') ?? [];
      const list = join(dirname(bin), 'called');
      return {
        ...standIns,
        env: { PATH: `${bin}:${scene.env['PATH'] ?? ''}` },
        async reset(at, then) {
          await standIns.reset(at, then);
          await chmod(list, 0o666);
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
}
