// The built command on this machine, with its VMs' disks on the LVM lab's host: as oneadmin there, by ssh.
import { setTimeout as sleep } from 'node:timers/promises';
import { runToEnd, type Ended } from '../support/shell.ts';
import { processesWith } from '../support/ssh-support.ts';
import { programsBySsh } from '../support/fake-programs.ts';
import { makeScene, type ExportOptions, type ExportScene } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import {
  folder as hostFolder,
  hostStandIns,
  type HostStandIns,
  lvmSettingsForLab,
  whileMeddling,
  type Meddling,
} from './lvm-host.ts';
import type { LvmLab } from './lvm.ts';
import { signal } from './requests.ts';
import { limits } from '../support/limits.ts';

const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;

export interface SshScene extends Omit<ExportScene, 'exportOf' | 'whileReading' | 'standIns'> {
  /** `xml`: instead of the VM's own. */
  exportOf(
    vm: LabVm,
    args?: readonly string[],
    options?: ExportOptions & { readonly xml?: string },
  ): Promise<Ended>;
  /**
   * What an export may have left of connections, here and there, and of journals and part files. All processes of the
   * host's that are oneadmin's come from us, except QEMU. What ends by itself gets some seconds for it.
   */
  leftByNow(): Promise<object>;
  /** Runs `body` with a host that meddles; where its action says `reached`, `act` is run here. */
  meddled(
    meddling: Meddling,
    act: () => Promise<unknown>,
    body: () => Promise<Ended>,
  ): Promise<Ended>;
  /** The stand-ins of the end-to-end tests, on the host, until `close`. */
  standIns(): Promise<HostStandIns>;
  /** Runs `body`, an export that meets the stand-ins on the host; what else runs there afterwards does not. */
  met(standIns: HostStandIns, body: () => Promise<Ended>): Promise<Ended>;
  /** Kills the connection's ssh process here. */
  readonly killSsh: () => Promise<void>;
}

/** Both of ssh and of sudo on the host. */
const firstOnPath = '/usr/local/sbin';

// Pipes: who waits at one costs the host nothing.
const said = `${hostFolder}/said`;
const acted = `${hostFolder}/acted`;

export const nothingLeft = { journals: [], parts: [], connections: [], processes: [] };

/** @param more environment of the command. */
export async function sceneBySsh(lab: LvmLab, more: NodeJS.ProcessEnv = {}): Promise<SshScene> {
  const path = `${lab.sshFolder}:${process.env['PATH'] ?? ''}`;
  const scene = await makeScene({ PATH: path, ...lvmSettingsForLab, ...more });
  // Another lab has a host of the same name.
  const connections = (): Promise<number[]> => processesWith(lab.sshConfig, 'ServerAliveInterval');
  const left = async (): Promise<object> => ({
    ...(await scene.leftHere()),
    connections: await connections(),
    processes: (await lab.run(`ps -u oneadmin -o args= | grep -v '^/usr/bin/qemu-system' || true`))
      .split('\n')
      .filter(Boolean),
  });
  let command = 0;
  return {
    ...scene,
    async exportOf(vm, args = [], { xml, env, ...options } = {}) {
      const words = ['export', '--stdin', '--no-lock', '--json', '--remote-host', lab.host];
      return await runToEnd(onevmdump, [...words, ...args], {
        ...options,
        started(pid) {
          command = pid;
          options.started?.(pid);
        },
        env: { ...scene.env, ...env },
        input: xml ?? (await vm.xml()),
      });
    },
    async leftByNow() {
      const end = Date.now() + limits.soonMs;
      let now = await left();
      while (JSON.stringify(now) !== JSON.stringify(nothingLeft) && Date.now() < end) {
        await sleep(250);
        now = await left();
      }
      return now;
    },
    async meddled({ action, ...when }, act, body) {
      const meddling = { ...when, action: `reached() { ${say('reached')}; }\n${action}` };
      return await whileActing(lab, act, () => whileMeddling(lab, meddling, body));
    },
    async standIns() {
      const standIns = await hostStandIns(lab, {
        programs: programsBySsh,
        signal: say('$action'),
      });
      const [bin = ''] = standIns.env['PATH']?.split(':') ?? [];
      await lab.run(`ln -sf ${bin}/* ${firstOnPath}`);
      return { ...standIns, env: {} };
    },
    async met(standIns, body) {
      try {
        return await whileActing(lab, (name) => signal(command, name), body);
      } finally {
        await standIns.disarm();
      }
    },
    async killSsh() {
      for (const pid of await connections()) process.kill(pid, 'SIGKILL');
    },
    async close() {
      await lab.run(`find ${firstOnPath} -lname '*/stand-ins/*' -delete`);
      await scene.close();
    },
  };
}

/** Lines of sh on the host: they say `what`, in double quotes, and go on when it was acted on. */
function say(what: string): string {
  return `echo "${what}" >${said}; read -r _ <${acted}`;
}

/** Acts, here, on the first that is said on the host while `body` runs. */
async function whileActing<T>(
  lab: LvmLab,
  act: (what: string) => Promise<unknown>,
  body: () => Promise<T>,
): Promise<T> {
  await lab.run(`rm -f ${said} ${acted} && mkfifo -m 666 ${said} ${acted}`);
  const acting = lab.run(`cat ${said}`).then(async (what) => {
    if (what === '') return;
    await act(what.trim());
    await lab.run(touch(acted));
  });
  try {
    return await body();
  } finally {
    await lab.run(touch(said));
    await acting;
  }
}

/** Who waits at a pipe goes on, if anyone does: a pipe that is opened for both waits for nobody. */
function touch(pipe: string): string {
  return `: <>${pipe}`;
}
