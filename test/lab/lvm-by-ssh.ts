// The built command on this machine, with its VMs' disks on the LVM lab's host: as oneadmin there, by ssh.
import { setTimeout as sleep } from 'node:timers/promises';
import { runToEnd, type Ended } from '../demo/shell.ts';
import { processesWith } from '../run/ssh-support.ts';
import { makeScene, type ExportOptions, type ExportScene } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { folder as hostFolder, roomForLab, whileMeddling, type Meddling } from './lvm-host.ts';
import type { LvmLab } from './lvm.ts';

const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;

export interface SshScene extends Omit<ExportScene, 'exportOf' | 'whileReading'> {
  /** `xml`: instead of the VM's own. */
  exportOf(
    vm: LabVm,
    args?: readonly string[],
    options?: ExportOptions & { readonly xml?: string },
  ): Promise<Ended>;
  /**
   * What an export may have left of connections, here and there, and of journals and part files. All of the
   * host's that is oneadmin's comes from us. What ends by itself gets some seconds for it.
   */
  leftByNow(seconds?: number): Promise<object>;
  /** Runs `body` with a host that meddles; where its action says `reached`, `act` is run here. */
  meddled(
    meddling: Meddling,
    act: () => Promise<unknown>,
    body: () => Promise<Ended>,
  ): Promise<Ended>;
  /** Kills the connection's ssh process here. */
  readonly killSsh: () => Promise<void>;
}

export const nothingLeft = { journals: [], parts: [], connections: [], processes: [] };

export async function sceneBySsh(lab: LvmLab): Promise<SshScene> {
  const path = `${lab.sshFolder}:${process.env['PATH'] ?? ''}`;
  const scene = await makeScene({ PATH: path, ...roomForLab });
  const connections = (): Promise<number[]> => processesWith(lab.host, 'ServerAliveInterval');
  const left = async (): Promise<object> => ({
    ...(await scene.leftHere()),
    connections: await connections(),
    processes: (await lab.run('ps -u oneadmin -o args= || true')).split('\n').filter(Boolean),
  });
  return {
    ...scene,
    async exportOf(vm, args = [], { xml, env, ...options } = {}) {
      const words = ['export', '--stdin', '--no-lock', '--json', '--remote-host', lab.host];
      return await runToEnd(onevmdump, [...words, ...args], {
        ...options,
        env: { ...scene.env, ...env },
        input: xml ?? (await vm.xml()),
      });
    },
    async leftByNow(seconds = 10) {
      const end = Date.now() + seconds * 1000;
      let now = await left();
      while (JSON.stringify(now) !== JSON.stringify(nothingLeft) && Date.now() < end) {
        await sleep(250);
        now = await left();
      }
      return now;
    },
    async meddled({ action, ...when }, act, body) {
      // A pipe: who waits at one costs the host nothing.
      const pipe = `${hostFolder}/reached`;
      await lab.run(`rm -f ${pipe} && mkfifo -m 666 ${pipe}`);
      const acted = lab.run(`cat ${pipe}`).then(async (said) => {
        if (said !== '') await act();
      });
      const reached = `reached() { echo reached >${pipe}; }`;
      const meddling = { ...when, action: `${reached}\n${action}` };
      const ended = await whileMeddling(lab, meddling, body);
      // Nobody has reached it: then nobody waits any more, either.
      await lab.run(`timeout 1 bash -c ': >${pipe}' || true`);
      await acted;
      return ended;
    },
    async killSsh() {
      for (const pid of await connections()) process.kill(pid, 'SIGKILL');
    },
  };
}
