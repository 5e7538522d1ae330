// A runner that answers as a Ceph cluster with images of 1 MiB does, and as a libvirt with one domain,
// one-7; and notes what it is told. Everything else is run for real.
import { setTimeout as sleep } from 'node:timers/promises';
import { localRunner } from '../../lib/run/local-runner.ts';
import { CommandError } from '../../lib/report/errors.ts';
import type { Command, Runner } from '../../lib/run/runner.ts';
import { data, diffJson, end, head, size, to } from '../support/rbd-streams.ts';
import { agentCommandOf, returning } from '../support/fake-libvirt.ts';
import { quiet } from '../support/nbd-servers.ts';

const MiB = 1024 * 1024;

export interface FakeCeph {
  readonly runner: Runner;
  /** The commands of rbd and virsh, without the options to reach cluster and libvirt, in order. */
  readonly calls: string[];
  /** Those options of each command of rbd. */
  readonly options: (readonly string[])[];
  /** `<image>@<snapshot>`. */
  readonly snapshots: Set<string>;
  /** What every image holds. */
  readonly content: Buffer;
  /** From now on there is no image any more. */
  removeImages(): void;
  /** How many snapshots were being made at the same time. */
  mostAtOnce(): number;
  onCreate(check: () => void): void;
}

export interface FakeFacts {
  /** Gets each command first; what it returns is what the program says when it fails. */
  readonly meddle?: (call: string) => string;
  readonly createMs?: number;
  /** What `rbd info` prints. */
  readonly info?: string;
  /** What `rbd status` prints, when it is asked for the how-manieth time. Without it: the QEMU of the domain, if there is one. */
  readonly status?: (asked: number) => string;
  readonly qemu?: string;
  /** The disks of the domain by target. */
  readonly disks?: Readonly<Record<string, { rbd?: string; file?: string; busy?: boolean }>>;
}

export function fakeCeph({
  meddle = () => '',
  createMs = 0,
  info = `{"size":${MiB}}`,
  disks = {},
  qemu = '7.2.22',
  status = () =>
    watchers(
      ...Object.keys(disks)
        .slice(0, 1)
        .map(() => '192.0.2.1:0/1'),
    ),
}: FakeFacts = {}): FakeCeph {
  const calls: string[] = [];
  const options: (readonly string[])[] = [];
  const snapshots = new Set<string>();
  const content = Buffer.alloc(MiB);
  content.fill(7, 8192, 16_384);
  const atOnce = { now: 0, most: 0 };
  let asked = 0;
  let gone = false;
  let check = (): void => undefined;
  const real = localRunner(quiet);

  /** Notes a command, one for the agent by its own name. @returns its words, without the options that all have. */
  const note = ({ program, args }: Command): string[] => {
    const words = [...args];
    const common = ['--id', '--keyfile', '--conf', '--connect'];
    const found: string[] = [];
    while (common.includes(words[0] ?? '')) found.push(...words.splice(0, 2));
    if (program === 'rbd') options.push(found);
    if (words[0] === 'qemu-agent-command')
      words.splice(0, words.length, agentCommandOf(words.slice(1)));
    calls.push(words.join(' '));
    return words;
  };

  const virsh: Record<string, () => string> = {
    list: () => '00000000-0000-4000-8000-000000000000 one-7\n\n',
    domstate: () => 'running\n\n',
    'guest-fsfreeze-status': () => returning('thawed'),
    'guest-fsfreeze-freeze': () => returning(2),
    'guest-fsfreeze-thaw': () => returning(2),
    version: () => `Running hypervisor: QEMU ${qemu}\n\n`,
    dumpxml: () =>
      `<domain><devices>${Object.entries(disks).map(diskXml).join('')}</devices></domain>`,
  };

  /** Undefined: what is meant is not there. */
  const answer = (words: readonly string[]): string | undefined => {
    const [word = '', next] = words;
    if (gone && ['info', 'status', 'snap'].includes(word)) return undefined;
    const last = words.at(-1) ?? '';
    if (word === 'info') return info;
    if (word === 'status') return status(++asked);
    if (word === 'snap' && next === 'ls') return '[{"id":4,"name":"snap","protected":"true"}]';
    if (word === 'snap' && next === 'rm') return snapshots.delete(last) ? '' : undefined;
    return virsh[word]?.() ?? '';
  };

  const runner: Runner = {
    ...real,
    async run(command, options_ = {}) {
      if (!['rbd', 'virsh'].includes(command.program)) return await real.run(command, options_);
      const words = note(command);
      const creates = words[0] === 'snap' && words[1] === 'create';
      if (creates) {
        check();
        atOnce.most = Math.max(atOnce.most, ++atOnce.now);
        await sleep(createMs);
        atOnce.now -= 1;
      }
      // The oldest that OpenNebula 6.4 is used with is Ceph 14.
      const unknown =
        creates && words.includes('--no-progress') ? "unrecognised option '--no-progress'" : '';
      const why = unknown || meddle(words.join(' '));
      const text = why === '' ? answer(words) : undefined;
      if (text === undefined && !(options_.acceptStatus?.includes(2) ?? false)) {
        const message = `cannot ${options_.doing ?? 'do it'}: ${command.program}: ${why}`;
        const exit = why === '' ? 2 : 1;
        throw new CommandError(message, { command: words.join(' '), status: exit });
      }
      if (creates) snapshots.add(words.at(-1) ?? '');
      return { status: text === undefined ? 2 : 0, stdout: Buffer.from(text ?? ''), stderr: why };
    },
    start: () =>
      Promise.resolve({
        pid: 1,
        ended: new Promise(() => undefined),
        stop: () => Promise.resolve(),
      }),
    startPiped(command) {
      const words = note(command);
      const printed =
        words[0] === 'diff'
          ? Buffer.from(diffJson([{ offset: 8192, length: 8192 }]))
          : Buffer.concat([
              ...[head, to(words.at(-2)?.split('@')[1] ?? ''), size(MiB)],
              ...[data(8192, content.subarray(8192, 16_384)), end],
            ]);
      const octal = [...printed].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
      return real.startPiped({ program: 'printf', args: [octal] });
    },
  };
  return {
    ...{ runner, calls, options, snapshots, content },
    mostAtOnce: () => atOnce.most,
    removeImages: () => {
      gone = true;
    },
    onCreate: (given) => {
      check = given;
    },
  };
}

/** What `rbd status --format json` prints for clients with these addresses. */
export function watchers(...addresses: readonly string[]): string {
  return JSON.stringify({
    watchers: addresses.map((address, at) => ({ address, client: 4100 + at, cookie: at })),
  });
}

function diskXml([target, { rbd, file, busy = false }]: [
  string,
  { rbd?: string; file?: string; busy?: boolean },
]): string {
  const source =
    rbd === undefined
      ? `<source file='${file ?? ''}'/>`
      : `<source protocol='rbd' name='${rbd}'><host name='h'/></source>`;
  const mirror = busy ? '<mirror/>' : '';
  const type = rbd === undefined ? 'file' : 'network';
  return `<disk type='${type}'><driver name='qemu' type='raw'/>${source}<target dev='${target}'/>${mirror}</disk>`;
}
