// A runner that answers as a libvirt with one domain does, and notes what it is told. Everything but
// virsh is run for real.
import { CommandError, ConnectionError, InterruptedError } from '../../lib/report/errors.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Output, Runner, ServiceEnd } from '../../lib/run/runner.ts';
import { quiet } from './nbd-servers.ts';

export interface FakeDisk {
  readonly target: string;
  readonly file: string;
  readonly format: string;
  readonly type?: string;
  readonly errorPolicy?: string;
  /** More elements of the disk. */
  readonly more?: string;
}

export interface FakeLibvirt {
  readonly runner: Runner;
  /** The commands given to virsh, those of the agent by their own names, and `watchdog`, `watchdog ended`, in order. */
  readonly calls: string[];
  /** The guest's file systems. */
  readonly frozen: () => boolean;
  /** As another tool does it. */
  readonly freeze: () => void;
  readonly thaw: () => void;
  readonly paused: () => boolean;
  /** QEMU stops the guest because it cannot write, or somebody pauses it. */
  readonly stop: (why: 'I/O error' | 'user') => void;
  /** The socket of the backup job. */
  readonly job: () => string | undefined;
}

export interface FakeFacts {
  readonly name: string;
  readonly disks?: readonly FakeDisk[];
  /** Gets each command first, one for the agent by its own name; what it throws is what virsh says. */
  readonly meddle?: (command: string) => void;
  readonly frozenSystems?: number;
  /** Another tool has frozen the file systems before. */
  readonly frozenByOthers?: boolean;
  /** As Windows does after 10 s: the first thaw is told of it, and nothing is frozen then. */
  readonly endsItsFreeze?: boolean;
  /** What libvirt says of backup jobs in its capabilities: nothing (undefined), as before 6.0, or this. Default true. */
  readonly backupSupported?: boolean | undefined;
  /** The socket of a backup job that it has from the start. */
  readonly job?: string;
  /** Whether AppArmor confines QEMU. */
  readonly apparmor?: boolean;
  /** Whom QEMU runs as; default root. */
  readonly owner?: string;
  /** How the watchdog ends, right after it was started; without it, it stays. */
  readonly watchdogEnd?: ServiceEnd | undefined;
}

/** What QEMU's agent 7.2 answers to a freeze while it is frozen, in libvirt's words. */
const frozenAnswer =
  "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state";

/** What the agent of QEMU 7.2 answers to a thaw in Windows, when VSS has ended the freeze, in libvirt's words. */
const endedAnswer =
  "internal error: unable to execute QEMU agent command 'guest-fsfreeze-thaw': couldn't hold writes: fsfreeze is limited up to 10 seconds";

const confined =
  "<seclabel type='dynamic' model='apparmor' relabel='yes'><label>libvirt-00000000-0000-4000-8000-000000000000</label></seclabel>";

/** What libvirt answers to a resume of a domain that runs (qemuDomainResume). */
export const runningAnswer = 'Requested operation is not valid: domain is already running';

export function fakeLibvirt({
  name,
  disks = [],
  meddle = () => undefined,
  frozenSystems = 2,
  frozenByOthers = false,
  endsItsFreeze = false,
  owner = '+0:+0',
  watchdogEnd,
  ...more
}: FakeFacts): FakeLibvirt {
  // Undefined is an answer of its own.
  const backupSupported = 'backupSupported' in more ? more.backupSupported : true;
  const calls: string[] = [];
  const real = localRunner(quiet);
  const guest = { frozen: frozenByOthers, paused: false, stopped: false };
  let { job } = more;

  const answers: Record<string, (args: readonly string[]) => string | Promise<string>> = {
    list: () => `00000000-0000-4000-8000-000000000000 ${name}\n\n`,
    domstate: (args) => {
      if (!guest.paused) return 'running\n\n';
      const reason = guest.stopped ? 'I/O error' : 'user';
      return args[0] === '--reason' ? `paused (${reason})\n\n` : 'paused\n\n';
    },
    domjobinfo: () =>
      job === undefined
        ? 'Job type:         None        \n'
        : 'Job type:         Unbounded   \nOperation:        Backup      \n',
    dumpxml: () =>
      `<domain type='kvm' id='3'><name>${name}</name><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices><emulator>/usr/bin/qemu-kvm</emulator>${disks.map(diskXml).join('')}</devices><seclabel type='dynamic' model='dac' relabel='yes'><label>${owner}</label></seclabel>${more.apparmor ? confined : ''}</domain>`,
    domcapabilities: (args) => {
      const known = ['--virttype kvm', '--emulatorbin /usr/bin/qemu-kvm', '--machine pc-q35-7.2'];
      if (!known.every((words) => args.join(' ').includes(words))) throw new Error('not this one');
      const backup =
        backupSupported === undefined
          ? ''
          : `<backup supported='${backupSupported ? 'yes' : 'no'}'/>`;
      return `<domainCapabilities><features>${backup}</features></domainCapabilities>\n\n`;
    },
    'guest-fsfreeze-status': () => returning(guest.frozen ? 'frozen' : 'thawed'),
    version: () =>
      'Compiled against library: libvirt 9.0.0\nUsing API: QEMU 9.0.0\nRunning hypervisor: QEMU 7.2.22\n\n',
    'guest-fsfreeze-freeze': () => {
      if (guest.frozen) throw new Error(frozenAnswer);
      guest.frozen = true;
      return returning(frozenSystems);
    },
    'guest-fsfreeze-thaw': () => {
      const thawed = guest.frozen ? frozenSystems : 0;
      guest.frozen = false;
      if (thawed > 0 && endsItsFreeze) throw new Error(endedAnswer);
      return returning(thawed);
    },
    suspend: () => {
      guest.paused = true;
      return '';
    },
    resume: () => {
      if (!guest.paused) throw new Error(runningAnswer);
      guest.paused = false;
      return '';
    },
    'backup-begin': async (args) => {
      if (!backupSupported)
        throw new Error('Operation not supported: incremental backup is not supported yet');
      const order = await real.run({ program: 'cat', args: [args.at(-1) ?? ''] });
      job = /socket='([^']*)'/.exec(order.stdout.toString())?.[1];
      return 'Backup started\n';
    },
    'backup-dumpxml': () => {
      if (job === undefined) throw new Error('no domain backup job present');
      return `<domainbackup mode='pull'><server transport='unix' socket='${job}'/></domainbackup>`;
    },
    domjobabort: () => {
      job = undefined;
      return '';
    },
  };

  const runner: Runner = {
    ...real,
    async run(command, options = {}): Promise<Output> {
      if (command.program !== 'virsh') return real.run(command, options);
      const [connect, , word = '', ...args] = command.args;
      if (connect !== '--connect') throw new Error('virsh without --connect');
      const forAgent = word === 'qemu-agent-command' ? agentCommandOf(args) : undefined;
      const line = forAgent ?? [word, ...args].join(' ');
      calls.push(forAgent ?? word);
      try {
        meddle(line);
        const answer = answers[forAgent ?? word];
        if (!answer) throw new Error(`virsh has no command ${word}`);
        return { status: 0, stdout: Buffer.from(await answer(args)), stderr: '' };
      } catch (error) {
        if (error instanceof InterruptedError || error instanceof ConnectionError) throw error;
        const stderr = `error: ${error instanceof Error ? error.message : String(error)}\n`;
        if (options.acceptStatus?.includes(1)) {
          return { status: 1, stdout: Buffer.alloc(0), stderr };
        }
        const text = `cannot ${options.doing ?? 'do it'}: virsh: ${stderr.trim()}`;
        throw new CommandError(text, { command: line, status: 1, stderr });
      }
    },
    start(command) {
      if (command.program !== 'sh') return real.start(command);
      calls.push('watchdog');
      let end: (how: ServiceEnd) => void = () => undefined;
      const stop = (): Promise<void> => {
        calls.push('watchdog ended');
        end({ status: undefined, stderr: '' });
        return Promise.resolve();
      };
      const ended = watchdogEnd
        ? Promise.resolve(watchdogEnd)
        : new Promise<ServiceEnd>((resolve) => (end = resolve));
      return Promise.resolve({ pid: 1, ended, stop });
    },
  };
  const setFrozen = (frozen: boolean) => (): void => {
    guest.frozen = frozen;
  };
  return {
    runner,
    calls,
    freeze: setFrozen(true),
    thaw: setFrozen(false),
    frozen: () => guest.frozen,
    paused: () => guest.paused,
    stop(why) {
      guest.paused = true;
      guest.stopped = why === 'I/O error';
    },
    job: () => job,
  };
}

/** What virsh prints when the agent returns this. */
export const returning = (value: unknown): string => `${JSON.stringify({ return: value })}\n\n`;

/** The command of an agent in `--timeout N DOMAIN JSON`. Without a time limit a hung agent is waited for forever. */
export function agentCommandOf([option, seconds, , json = '']: readonly string[]): string {
  if (option !== '--timeout' || !(Number(seconds) > 0)) throw new Error('without a time limit');
  return (JSON.parse(json) as { readonly execute: string }).execute;
}

function diskXml(disk: FakeDisk): string {
  const { target, file, format, type = 'file', errorPolicy, more = '' } = disk;
  const policy = errorPolicy === undefined ? '' : ` error_policy='${errorPolicy}'`;
  return `<disk type='${type}' device='disk'><driver name='qemu' type='${format}'${policy}/><source ${type === 'block' ? 'dev' : 'file'}='${file}'/><target dev='${target}'/>${more}</disk>`;
}
