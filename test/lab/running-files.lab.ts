// What happens to exports of running VMs whose disks are files, by the built command against a real
// libvirt; what holds for all storages is in contract-*.lab.ts.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  watchdogsOf,
  asBefore,
  expectWriting,
  leftOfGuest,
  makeScene,
  reportOf,
  virshThat,
  type ExportScene,
} from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { runProgram } from './program.ts';
import { until } from '../support/limits.ts';

let lab: LibvirtLab;
let scene: ExportScene;

beforeAll(async () => {
  lab = await upLibvirt();
  scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_LIBVIRT_URI: lab.uri,
  });
});

afterAll(async () => {
  await scene.close();
  if (lab.startedNow) await downLibvirt();
});

afterEach(() => scene.removeBundles());

/** What an export may have left on the host. */
async function leftOn(vm: LabVm): Promise<object> {
  return {
    ...(await leftOfGuest(vm)),
    ...(await scene.leftHere()),
    files: (await readdir(vm.folder)).filter((name) => name.startsWith('onevmdump-')),
  };
}

const nothing = { ...asBefore, files: [], journals: [], parts: [] };

describe('an export of a running VM', () => {
  test('an export of a running VM on files whose guest has no agent is as after a power cut, with a warning', async () => {
    const vm = lab.qcow2;
    await vm.stopAgent();
    try {
      const ended = await scene.exportOf(vm);
      const { bundle, consistency } = reportOf(ended);
      expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
      expect(ended.stderr).toMatch(
        /^WARNING: .*cannot be frozen: .*as after a power cut \(crash\)$/m,
      );
      const { vda, vdb } = await scene.numbersIn(bundle);
      expect([vda.clean, vdb.clean]).toEqual([false, false]);
      expect(await leftOn(vm)).toEqual(nothing);

      const refused = await scene.exportOf(vm, ['--require-freeze']);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain('that is required (--require-freeze');
      expect(await leftOn(vm)).toEqual(nothing);
      expect(await readdir(scene.bundles)).toHaveLength(1);
    } finally {
      await vm.startAgent();
    }
  });

  test('an export of a running VM on files whose agent hangs is not held up by it, and the guest is not frozen when it comes back', async () => {
    const vm = lab.qcow2;
    await vm.hangAgent();
    try {
      const ended = await scene.exportOf(vm);
      expect(reportOf(ended).consistency.level).toBe('crash');
      expect(ended.stderr).toContain('as after a power cut');
    } finally {
      await vm.resumeAgent();
    }
    await sleep(1000);
    expect(await leftOn(vm)).toEqual(nothing);
    await expectWriting(vm);
  });

  test('an export of a running VM on files whose agent begins to hang in the freeze thaws the guest when the agent comes back', async () => {
    const vm = lab.qcow2;
    const bin = await mkdtemp(join(scene.folder, 'bin-'));
    const env = await virshThat(bin, {
      before: `if [[ " $* " == *guest-fsfreeze-freeze* ]]; then
  touch '${bin}/asked'
  until [ -e '${bin}/go' ]; do sleep 0.05; done
fi`,
    });
    const hang = async (): Promise<void> => {
      while (!(await readdir(bin)).includes('asked')) await sleep(20);
      await vm.hangAgent();
      await runProgram('touch', [join(bin, 'go')]);
    };
    let hanging: Promise<void> = Promise.resolve();
    try {
      const ended = await scene.exportOf(vm, [], {
        env,
        started: () => {
          hanging = hang();
        },
      });
      await hanging;
      expect(reportOf(ended).consistency.level).toBe('crash');
      expect(ended.stderr).toContain('may freeze when its agent comes back');
      expect(ended.stderr).toContain('may be frozen; thaw them with: virsh');
    } finally {
      await vm.resumeAgent();
    }
    // By now the guest has done the freeze; the process that the export left thaws it.
    await until('the guest is thawed', async () => !(await vm.isFrozen()), 500);
    await sleep(5000);
    expect(await vm.isFrozen()).toBe(false);
    expect(await scene.onevmdump(['cleanup'])).toMatchObject({ code: 0 });
    expect(await leftOn(vm)).toEqual(nothing);
    await expectWriting(vm);
  });

  // An administrator who sets it to 0 has every other command of virsh for the agent fail at once.
  test('an export of a running VM on files freezes a guest whose agent timeout was set by an administrator, and the setting stays', async () => {
    const vm = lab.qcow2;
    await vm.virsh('guest-agent-timeout', vm.domain, '--timeout', '0');
    try {
      expect(reportOf(await scene.exportOf(vm)).consistency.level).toBe('agent');
      await expect(vm.virsh('domfsthaw', vm.domain)).rejects.toThrow('not available for now');
    } finally {
      await vm.virsh('guest-agent-timeout', vm.domain, '--timeout', '-2');
    }
    expect(await leftOn(vm)).toEqual(nothing);
  });

  test('an export of a running VM on files whose guest another tool has frozen fails, and the guest stays frozen', async () => {
    const vm = lab.qcow2;
    await vm.virsh('domfsfreeze', vm.domain);
    try {
      const { code, stdout } = await scene.exportOf(vm);
      expect({ code, ...(JSON.parse(stdout) as object) }).toMatchObject({
        code: 1,
        error: { code: 'guest-frozen', vmId: 8 },
      });
      expect(await leftOn(vm)).toEqual({ ...nothing, frozen: true });
      const { consistency } = reportOf(await scene.exportOf(vm, ['--fs-freeze', 'none']));
      expect(consistency.level).toBe('crash');
      expect(await leftOn(vm)).toEqual({ ...nothing, frozen: true });
    } finally {
      await vm.virsh('domfsthaw', vm.domain);
    }
    await expectWriting(vm);
  });

  test('an export of a running VM on files with --fs-freeze suspend pauses the guest and lets it go on', async () => {
    const vm = lab.qcow2;
    const { bundle, consistency } = reportOf(await scene.exportOf(vm, ['--fs-freeze', 'suspend']));
    expect(consistency.level).toBe('suspend');
    expect(consistency.frozenMs).toBeGreaterThan(0);
    const { vda, vdb } = await scene.numbersIn(bundle);
    expect([vda.clean, vdb.clean]).toEqual([false, false]);
    expect(await leftOn(vm)).toEqual(nothing);
  });

  test('an export of a running VM on files with --fs-freeze none does not touch the guest', async () => {
    const { consistency } = reportOf(await scene.exportOf(lab.qcow2, ['--fs-freeze', 'none']));
    expect(consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
    expect(await leftOn(lab.qcow2)).toEqual(nothing);
  });

  test('an export of a running VM on files is refused at once while libvirt has another job, which goes on', async () => {
    const vm = lab.qcow2;
    const socket = join(scene.folder, 'other.sock');
    const order = `<domainbackup mode='pull'><server transport='unix' socket='${socket}'/><disks><disk name='vdb' backup='yes' type='file'><scratch file='${join(scene.folder, 'other.scratch')}'/></disk></disks></domainbackup>`;
    const path = join(scene.folder, 'other.xml');
    await runProgram('tee', [path], { input: order });
    await vm.virsh('backup-begin', vm.domain, path);
    try {
      const { code, stderr } = await scene.exportOf(vm);
      expect(code).toBe(1);
      expect(stderr).toContain('libvirt has another job for its domain');
      expect(await vm.virsh('backup-dumpxml', vm.domain)).toContain(socket);
      expect(await leftOn(vm)).toEqual({ ...nothing, job: expect.anything() as unknown });
    } finally {
      await vm.virsh('domjobabort', vm.domain);
    }
  });

  test('an export of a running VM on files whose guest is shut down meanwhile says so, and leaves nothing', async () => {
    const vm = lab.ssh;
    await vm.start();
    const { code, stderr } = await scene.whileReading(vm, () => vm.destroy());
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('the guest of VM 9 was shut down while disk') as unknown,
    });
    expect((await readdir(vm.folder)).filter((name) => name.startsWith('onevmdump'))).toEqual([]);
    expect(await readdir(join(scene.folder, 'state', 'journal'))).toEqual([]);
    expect(await readdir(scene.bundles)).toEqual([]);
  });
});

describe('an export of a running VM that is ended', () => {
  test('an export of a running VM on files that is ended by SIGKILL while it reads is undone by cleanup', async () => {
    const vm = lab.qcow2;
    await scene.whileReading(vm, (pid) => process.kill(pid, 'SIGKILL'));
    expect(await vm.isFrozen()).toBe(false);
    const dry = await scene.onevmdump(['cleanup', '--dry-run']);
    expect(dry.stdout).toContain('export of VM 8');
    expect(dry.stdout).toContain('domjobabort');
    const other = await scene.onevmdump(['cleanup', '--vm', '7']);
    expect(other.stdout).toBe('nothing is left\n');
    const { code, stdout } = await scene.onevmdump(['cleanup']);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/: undone\n$/) as unknown,
    });
    expect(await leftOn(vm)).toEqual(nothing);
    expect(await readdir(scene.bundles)).toEqual([]);
  });

  test('an export of a running VM on files that is ended by SIGKILL while it reads is undone by the next export of the VM', async () => {
    const vm = lab.qcow2;
    await scene.whileReading(vm, (pid) => process.kill(pid, 'SIGKILL'));
    const ended = await scene.exportOf(vm);
    expect(reportOf(ended).consistency.level).toBe('agent');
    expect(ended.stderr).toContain('undoing what an export of VM 8 left');
    expect(await leftOn(vm)).toEqual(nothing);
  });

  test.each([
    ['agent', 'guest-fsfreeze-freeze'],
    ['agent', 'backup-begin'],
    ['suspend', 'suspend'],
    ['suspend', 'backup-begin'],
  ])(
    'an export of a running VM on files that is ended by SIGKILL while the guest is frozen or paused (%s, in %s) has the guest go on within seconds',
    async (mode, command) => {
      const vm = lab.qcow2;
      const bin = await mkdtemp(join(scene.folder, 'bin-'));
      // Kills the export as soon as the command was carried out.
      const after = `[[ " $* " != *'${command}'* ]] || kill -KILL "$PPID"`;
      const env = await virshThat(bin, { after });
      const { code } = await scene.exportOf(vm, ['--fs-freeze', mode], { env });
      expect(code).toBe(null);
      const ended = async () => (await watchdogsOf(vm)).length === 0;
      await until(`the watchdogs of ${vm.domain} end`, ended);
      expect((await vm.virsh('domstate', vm.domain)).trim()).toBe('running');
      expect(await vm.isFrozen()).toBe(false);
      await scene.onevmdump(['cleanup']);
      expect(await leftOn(vm)).toEqual(nothing);
    },
  );
});
