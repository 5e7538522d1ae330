// Two machines that see one volume group, as LVM sees them: each has a lock folder of LVM's of its own, so that LVM's own
// lock keeps neither from changing the metadata while the other does. What keeps them apart is the lock of OpenNebula's
// drivers on the front-end. ONEVMDUMP_LAB_ROUNDS=200 makes more rounds, by hand.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Command, Runner } from '../../lib/run/runner.ts';
import { whileLocked } from '../../lib/storage/lvm/lock.ts';
import { undoVolumeSnapshot } from '../../lib/storage/lvm/undo.ts';
import {
  createLvmSnapshots,
  lvmOn,
  readVolumeGroup,
  type Lvm,
  type VolumeName,
} from '../../lib/tools/lvm.ts';
import { limits } from '../support/limits.ts';
import { connectionsTo, useSshd, type Connected } from '../support/ssh-support.ts';
import { downLvm, upLvm, type LvmLab } from './lvm.ts';

const rounds = Number(process.env['ONEVMDUMP_LAB_ROUNDS'] ?? 3);
/** Without a lock, one of some ten snapshots is lost. */
const mostUnlocked = 60;
const driverLocks = '/var/lock/one';

let lab: LvmLab;
let connected: Connected;
let unuse: () => void;

interface Machine {
  readonly name: string;
  readonly lvm: Lvm;
}

/** A volume group with a volume for each machine. */
interface SharedGroup {
  readonly group: string;
  readonly machines: readonly Machine[];
}

beforeAll(async () => {
  lab = await upLvm();
  unuse = useSshd({ bin: lab.sshFolder });
  connected = connectionsTo(lab.host, 'root');
  // The lab's host is the front-end, too.
  await lab.run(`modprobe loop; mkdir -p ${driverLocks}`);
});

afterAll(async () => {
  await connected.close();
  unuse();
  await lab.run(`rm -rf ${driverLocks} /run/machine-*`);
  if (lab.startedNow) await downLvm();
});

/** A machine with folders of its own for LVM and for OpenNebula's locks, that sees one disk. */
async function machine(name: string, disk: string): Promise<Machine> {
  const own = `/run/machine-${name}`;
  await lab.run(
    [
      `rm -rf ${own}; mkdir -p ${own}/lock ${own}/one && cp -r /etc/lvm ${own}/lvm`,
      `sed -i 's,a|^/dev/ubd|,a|^${disk}$|,' ${own}/lvm/lvmlocal.conf`,
      `echo 'global { locking_dir="${own}/lock" }' >>${own}/lvm/lvmlocal.conf`,
    ].join('\n'),
  );
  const asIts = ({ args, env, ...rest }: Command): Command => ({
    ...rest,
    args: args.map((word) => (word === driverLocks ? `${own}/one` : word)),
    env: { ...env, LVM_SYSTEM_DIR: `${own}/lvm` },
  });
  const { runner } = connected;
  const its: Runner = {
    where: name,
    target: runner.target,
    run: (command, options) => runner.run(asIts(command), options),
    start: (command) => runner.start(asIts(command)),
    startPiped: (command) => runner.startPiped(asIts(command)),
    forwardSocket: (path) => runner.forwardSocket(path),
  };
  return { name, lvm: await lvmOn(its, runner) };
}

/** Makes a group on a disk of its own for as long as `body` runs. */
async function withGroup(id: number, body: (shared: SharedGroup) => Promise<void>): Promise<void> {
  const group = `vg-one-${id}`;
  const file = `/tmp/${group}`;
  const disk = (await lab.run(`truncate -s 384M ${file} && losetup -f --show ${file}`)).trim();
  try {
    const machines = [await machine('a', disk), await machine('b', disk)];
    const lvm = 'LVM_SYSTEM_DIR=/run/machine-a/lvm';
    await lab.run(`${lvm} vgcreate -q ${group} ${disk}`);
    for (const { name } of machines)
      await lab.run(`${lvm} lvcreate -q -Wn -L 8M -n lv-one-${name} ${group}`);
    await body({ group, machines });
  } finally {
    // What was lost in LVM's metadata is still there in the kernel.
    const devices = `dmsetup ls | grep -o '^${group.replaceAll('-', '--')}-[^[:space:]]*'`;
    await lab.run(
      `for try in 1 2 3 4; do ${devices} | xargs -rn1 dmsetup remove --force; done >/dev/null 2>&1; losetup -d ${disk}; rm ${file}`,
    );
  }
}

const snapshotOf = ({ name }: Machine, round: number): string => `onevmdump-${name}${round}-0`;

const volumeOf = ({ group }: SharedGroup, { name }: Machine): VolumeName => {
  return { group, name: `lv-one-${name}` };
};

async function makeSnapshot(shared: SharedGroup, one: Machine, round: number): Promise<void> {
  const origin = volumeOf(shared, one);
  const name = snapshotOf(one, round);
  await createLvmSnapshots(one.lvm, [{ origin, name, extents: 1, label: one.name }]);
}

/** The snapshots that LVM knows. */
async function snapshotsIn({ group, machines }: SharedGroup): Promise<readonly string[]> {
  const { volumes } = await readVolumeGroup(machines[0]!.lvm, group);
  return [...volumes.keys()].filter((name) => name.startsWith('onevmdump-')).sort();
}

describe('two machines that make and remove snapshots in one volume group at the same time', () => {
  test(
    `two machines that change one volume group at the same time lose no snapshot under OpenNebula's lock, in ${rounds} rounds`,
    () =>
      withGroup(199, async (shared) => {
        const { machines } = shared;
        for (let round = 1; round <= rounds; round++) {
          const doing = `make snapshots, round ${round}`;
          await Promise.all(
            machines.map((one) =>
              whileLocked(one.lvm, volumeOf(shared, one), doing, () =>
                makeSnapshot(shared, one, round),
              ),
            ),
          );
          const made = machines.map((one) => snapshotOf(one, round));
          expect({ round, there: await snapshotsIn(shared) }).toEqual({ round, there: made });
          await Promise.all(
            machines.map((one, at) => {
              const { group, name: origin } = volumeOf(shared, one);
              const { runner, here } = one.lvm;
              return undoVolumeSnapshot(runner, here, { group, name: made[at]!, origin });
            }),
          );
          expect({ round, there: await snapshotsIn(shared) }).toEqual({ round, there: [] });
        }
      }),
    limits.sweepMs,
  );

  test(
    'two machines that change one volume group at the same time without a lock lose snapshots, so the other test would notice it',
    () =>
      withGroup(198, async (shared) => {
        const { machines } = shared;
        const created: string[] = [];
        let lost: readonly string[] = [];
        for (let round = 1; round <= mostUnlocked && lost.length === 0; round++) {
          const ended = await Promise.allSettled(
            machines.map((one) => makeSnapshot(shared, one, round)),
          );
          for (const [at, { status }] of ended.entries())
            if (status === 'fulfilled') created.push(snapshotOf(machines[at]!, round));
          const there = await snapshotsIn(shared);
          lost = created.filter((name) => !there.includes(name));
        }
        process.stderr.write(
          `without a lock: ${created.length} snapshots created, of which ${lost.length} are lost\n`,
        );
        expect(lost).not.toEqual([]);
      }),
    limits.sweepMs,
  );
});
