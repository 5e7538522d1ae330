// The built command on the LVM lab's host: exports there, with stand-ins that meddle with what it runs,
// and what they leave there.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runToEnd, type Ended } from '../support/shell.ts';
import {
  makeStandIns,
  programsIn,
  type StandInOptions,
  type StandIns,
} from '../support/fake-programs.ts';
import type { LabVm } from './lab-vm.ts';
import type { LvmLab } from './lvm.ts';
import { runProgram } from './program.ts';

const built = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;
const command = '/run/lab/onevmdump';
export const folder = '/tmp/lvm-export';
const programs = ['lvs', 'lvchange', 'lvcreate', 'lvremove', 'qemu-nbd', 'virsh'];
/** `Meddling.match` of the last program that an export on the host runs before it reads a volume. */
export const beforeReading = 'cat*/size*';

// Before or after the first call that has `match` in its line, runs `action`; $PPID is onevmdump, or sudo.
const standIn = `#!/bin/bash
folders=:$PATH: own=:\${0%/*}:
real=$(PATH=\${folders//"$own"/:} type -P "\${0##*/}")
read -r when match <${folder}/plan
due() {
  [ "$when" = "$1" ] && case "\${0##*/} $*" in *$match*) mkdir ${folder}/done 2>/dev/null ;; *) false ;; esac
}
if due before "$@"; then . ${folder}/action; fi
# Else the program itself gets the signals.
[ "$when" = after ] || exec "$real" "$@"
"$real" "$@"
status=$?
if due after "$@"; then . ${folder}/action; fi
exit $status
`;

export interface Meddling {
  readonly when: 'before' | 'after';
  /** A pattern of the shell for the program and its arguments, such as `lvcreate*-0 `. */
  readonly match: string;
  /** Lines of bash; `$PPID` is the command. */
  readonly action: string;
}

export interface ExportOptions {
  readonly user?: 'root' | 'oneadmin';
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly meddling?: Meddling;
}

/** Puts the built command and the stand-ins on the host. */
export async function prepareHost(lab: LvmLab): Promise<void> {
  const copy = `mkdir -p ${folder}/bin && cat >${command} && chmod 755 ${command} /run/lab && chmod 777 ${folder}`;
  await runProgram('bash', [
    '-c',
    'ssh -F "$1" "root@$2" "$3" <"$4"',
    'bash',
    lab.sshConfig,
    lab.host,
    copy,
    built,
  ]);
  await onHost(lab, `cat >${folder}/stand-in`, { input: standIn });
  const links = [...programs, 'cat']
    .map((name) => `ln -sf ../stand-in ${folder}/bin/${name}`)
    .join('; ');
  await lab.run(`chmod 755 ${folder}/stand-in; ${links}`);
  // As OpenNebula's packages do it; a host that was started before this was written has it not.
  await lab.run("sed -i 's/^disk:x:6:$/disk:x:6:oneadmin/' /etc/group");
}

/** Removes them, and all bundles and journals. */
export async function tidyHost(lab: LvmLab): Promise<void> {
  await lab.run(`rm -rf ${folder} ${command} /var/lib/one/onevmdump /tmp/lab-stand-ins-*`);
}

/** Exports the VM as it is now. */
export async function exportOn(
  lab: LvmLab,
  vm: LabVm,
  { user = 'root', args = [], env = {}, meddling }: ExportOptions = {},
): Promise<Ended> {
  const variables = Object.entries({ ...settings, ...env }).map((one) => one.join('='));
  const path = meddling === undefined ? [] : [`PATH=${folder}/bin:$PATH`];
  if (meddling !== undefined) {
    await planMeddling(lab, meddling);
  }
  const words = [
    'env',
    ...variables,
    ...path,
    command,
    'export',
    '--stdin',
    '-L',
    '--json',
    ...args,
  ];
  return await onHost(lab, words.join(' '), { user, input: await vm.xml() });
}

async function planMeddling(lab: LvmLab, { when, match, action }: Meddling): Promise<void> {
  const files = `cd ${folder} && rm -rf done && read -r line && echo "$line" >plan && cat >action`;
  await onHost(lab, files, { input: `${when} ${match}\n${action}\n` });
}

/** As long as `body` runs, for everyone on the host: by ssh, and by sudo, too. Both have this folder first on PATH. */
export async function whileMeddling<T>(
  lab: LvmLab,
  meddling: Meddling,
  body: () => Promise<T>,
): Promise<T> {
  await planMeddling(lab, meddling);
  const all = programs.join(',');
  await lab.run(`for name in {${all}}; do ln -s ${folder}/stand-in /usr/local/sbin/$name; done`);
  try {
    return await body();
  } finally {
    await lab.run(`rm -f /usr/local/sbin/{${all}}`);
  }
}

export async function cleanupOn(lab: LvmLab, user: 'root' | 'oneadmin' = 'root'): Promise<Ended> {
  const variables = Object.entries(settings).map((one) => one.join('='));
  return await onHost(lab, ['env', ...variables, command, 'cleanup'].join(' '), { user });
}

/** What every export of the lab's volumes needs. */
export const lvmSettingsForLab = {
  // Less than the default, which is more than the lab's disks have.
  ONEVMDUMP_LVM_SNAPSHOT_MIN_MB: '48',
  // No oned is anywhere, and only the lab's host sees the groups.
  ONEVMDUMP_LVM_SHARED: 'no',
};

const settings = { ONEVMDUMP_DESTINATION: folder, ...lvmSettingsForLab };

export function onHost(
  lab: LvmLab,
  line: string,
  { user = 'root', input = '' }: { user?: string; input?: string },
): Promise<Ended> {
  return runToEnd('ssh', ['-F', lab.sshConfig, `${user}@${lab.host}`, line], { input });
}

/** The bundle, extracted here by GNU tar into a folder for as long as `body` runs. The bundle is removed. */
export async function withBundle<T>(
  lab: LvmLab,
  bundle: string,
  body: (out: string) => Promise<T>,
): Promise<T> {
  const out = await mkdtemp('/var/tmp/onevmdump-lvm-');
  try {
    await lab.copyOut(bundle, join(out, 'bundle'));
    await lab.run(`rm ${bundle}`);
    await runProgram('tar', ['-xzf', join(out, 'bundle'), '-C', out]);
    return await body(out);
  } finally {
    await rm(out, { recursive: true });
  }
}

/** Its two disks. */
export function withDisks<T>(
  lab: LvmLab,
  bundle: string,
  body: (paths: readonly [string, string]) => Promise<T>,
): Promise<T> {
  return withBundle(lab, bundle, (out) =>
    body([join(out, 'backup.disk.0'), join(out, 'backup.disk.1')]),
  );
}

export interface HostStandIns extends StandIns {
  /** Lets everything succeed from now on. */
  disarm(): Promise<void>;
}

/** The stand-ins of the end-to-end tests, on the host. */
export async function hostStandIns(
  lab: LvmLab,
  options: Omit<StandInOptions, 'installed'> = {},
): Promise<HostStandIns> {
  const there = await lab.run('ls /usr/bin /usr/sbin /bin /sbin');
  const installed = new Set(there.split('\n'));
  const out = await mkdtemp(`${tmpdir()}/lab-stand-ins-`);
  try {
    const { env } = await makeStandIns(out, {
      ...options,
      installed: (program) => Promise.resolve(installed.has(program)),
    });
    const ship = 'tar -C / -c "${3#/}" | ssh -F "$1" "root@$2" tar -C / -x';
    await runProgram('bash', ['-c', ship, 'bash', lab.sshConfig, lab.host, out]);
    const list = join(out, 'called');
    const [bin = ''] = env['PATH']?.split(':') ?? [];
    return {
      env: { PATH: `${bin}:$PATH` },
      async reset(at, then) {
        const files = `echo '${at} ${then}' >${list}.plan; : >${list}; chmod 666 ${list}`;
        await lab.run(`chmod 755 ${out}; ${files}`);
      },
      disarm: async () => {
        await lab.run(`echo '0 fail' >${list}.plan`);
      },
      called: async () => programsIn(await lab.run(`cat ${list}`)),
    };
  } finally {
    await rm(out, { recursive: true });
  }
}

/** The checksums of a VM's volumes, which must be active, as dd reads them. */
export async function volumeSums(lab: LvmLab, vm: LabVm): Promise<readonly string[]> {
  const one = (disk: number): string =>
    `dd if=$(realpath ${vm.diskPath(disk)}) bs=1M iflag=direct status=none | sha256sum`;
  return sums(await lab.run([0, 1].map(one).join('; ')));
}

export async function fileSums(paths: readonly string[]): Promise<readonly string[]> {
  return sums(await runProgram('sha256sum', [...paths]));
}

function sums(text: string): readonly string[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.slice(0, 64));
}

/** Files and processes that exports may have left on the host, a line each. */
const filesAndProcesses = `cd /
find /tmp ${folder} /var/lib/one -name 'onevmdump*' ! -name onevmdump | sort -u | grep -v 'tar.gz$'
find /var/lib/one/onevmdump -type f 2>/dev/null
ps -eo args | grep -e 'onevmdump-[g]uard' -e 'onevmdump-[s]pace' -e '[q]emu-nbd'`;

/** All that exports may have left on the host, line by line. */
export async function leftOn(lab: LvmLab): Promise<string> {
  return await lab.run(`lvs --noheadings -o lv_name | grep onevmdump- | xargs -rn1 echo volume
${filesAndProcesses}
true`);
}

/**
 * All that exports may have left or changed there, the guest's state, and all volumes. One ssh for all: where any
 * program takes its tenths of a second, this is asked after each of hundreds of exports.
 */
export async function tracesOn(lab: LvmLab, { domain }: LabVm): Promise<string> {
  return await lab.run(`virsh -q -c qemu:///system 'domstate ${domain}; domjobinfo ${domain}' 2>/dev/null || echo off
lvs --noheadings -o vg_name,lv_name,lv_size,lv_active,origin
ls ${folder} | grep -e gz -e part
${filesAndProcesses}
true`);
}

/** The processes there that see to it that a guest goes on. */
export async function watchdogsOn(lab: LvmLab): Promise<string[]> {
  return (await lab.run('pgrep -af onevmdump-[g]uard || true')).split('\n').filter(Boolean);
}

/** The volumes of a VM that are active. */
export async function activeVolumes(lab: LvmLab, vm: LabVm): Promise<string[]> {
  const line = `lvs --noheadings -o lv_name -S 'lv_active = "active" && lv_name =~ "^lv-one-${vm.id}-[0-9]"'`;
  return (await lab.run(line)).split(/\s+/).filter(Boolean);
}
