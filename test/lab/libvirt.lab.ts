import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { lstat, readFile, readlink, realpath, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { readNumbers, sameInstant, type Numbers } from './numbers.ts';
import { runProgram } from './program.ts';
import { until } from '../support/limits.ts';

let lab: LibvirtLab;

beforeAll(async () => {
  lab = await upLibvirt();
  if (await lab.ssh.isRunning()) await lab.ssh.powerOff();
});

afterAll(async () => {
  if (lab.startedNow) await downLibvirt();
});

async function numbersOf(vm: LabVm): ReturnType<typeof bothNumbers> {
  return bothNumbers(vm.diskPath(0), vm.diskPath(1));
}

async function bothNumbers(vda: string, vdb: string) {
  return { vda: await readNumbers(vda, 'qcow2'), vdb: await readNumbers(vdb, 'raw') };
}

describe('the libvirt lab', () => {
  test('a second start of the libvirt lab finds it running and leaves the guest alone', async () => {
    const before = await lab.qcow2.virsh('domid', lab.qcow2.domain);
    const again = await upLibvirt();
    expect(again.startedNow).toBe(false);
    expect(again.uri).toBe(lab.uri);
    expect(await lab.qcow2.virsh('domid', lab.qcow2.domain)).toBe(before);
  });

  test('the domain of the libvirt lab is transient, and the VM XML names it', async () => {
    const info = await lab.qcow2.virsh('dominfo', lab.qcow2.domain);
    expect(info).toMatch(/^Persistent:\s+no$/m);
    const vm = parseVm(Buffer.from(await lab.qcow2.xml()));
    expect({ state: vm.state, lcmState: vm.lcmState }).toEqual({ state: 3, lcmState: 3 });
    expect(await lab.qcow2.virsh('domname', vm.deployId ?? '')).toContain('one-8');
  });

  test.each(['qcow2', 'ssh'] as const)(
    'the VM XML of TM %s in the libvirt lab tells the disks as they are',
    async (tm) => {
      const { disks, history } = parseVm(Buffer.from(await lab[tm].xml()));
      expect(disks.map(({ type, format, tmMad }) => [type, format, tmMad])).toEqual([
        ['FILE', 'qcow2', tm],
        ['FS', 'raw', tm],
        ['CDROM', 'raw', tm],
        ['FILE', 'qcow2', tm],
      ]);
      expect(lab[tm].folder).toBe(
        join(lab.datastores, String(history?.datastoreId), String(lab[tm].id)),
      );
      for (const { id, format, sizeMb, source } of disks) {
        const args = ['info', '-U', '--output=json', '-f', format ?? '', lab[tm].diskPath(id)];
        const info = JSON.parse(await runProgram('qemu-img', args)) as Record<string, unknown>;
        expect(Math.ceil(Number(info['virtual-size']) / 1024 ** 2)).toBe(sizeMb);
        if (source !== undefined) expect((await lstat(source)).isFile()).toBe(true);
      }
    },
  );

  test('TM qcow2 leaves links, and an overlay on the image', async () => {
    const vm = lab.qcow2;
    expect(await readlink(vm.diskPath(0))).toBe('disk.0.snap/0');
    expect(await readlink(join(vm.folder, 'disk.0.snap', 'disk.0.snap'))).toBe('.');
    const info = await runProgram('qemu-img', ['info', '-U', '--output=json', vm.diskPath(0)]);
    const { disks } = parseVm(Buffer.from(await vm.xml()));
    expect(JSON.parse(info)).toMatchObject({ 'full-backing-filename': disks[0]?.source });
    expect(await realpath(vm.diskPath(2))).toBe(disks[2]?.source);
    expect(await realpath(vm.diskPath(3))).toBe(disks[3]?.source);
  });

  test('TM ssh leaves files of its own', async () => {
    for (const id of [0, 1, 2, 3, 4]) {
      expect((await lstat(lab.ssh.diskPath(id))).isFile()).toBe(true);
    }
    const info = await runProgram('qemu-img', ['info', '--output=json', lab.ssh.diskPath(0)]);
    expect(JSON.parse(info)).not.toHaveProperty('backing-filename');
  });

  test('a frozen guest of the libvirt lab writes nothing, its disks are clean and of one point in time, and it goes on', async () => {
    const vm = lab.qcow2;
    expect(await vm.isFrozen()).toBe(false);
    await vm.virsh('domfsfreeze', vm.domain);
    try {
      expect(await vm.isFrozen()).toBe(true);
      const numbers = await numbersOf(vm);
      expect(numbers.vdb.last).toBeGreaterThan(0);
      expect(numbers).toMatchObject({ vda: { clean: true }, vdb: { clean: true } });
      expect(sameInstant(numbers.vda, numbers.vdb)).toBe(true);
      expect(await numbersOf(vm)).toEqual(numbers);
    } finally {
      await vm.virsh('domfsthaw', vm.domain);
    }
    expect(await vm.isFrozen()).toBe(false);
    const then = await vm.lastNumber();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(await vm.lastNumber()).toBeGreaterThan(then);
  });

  test('disks of two points in time are told apart from disks of one', async () => {
    const vm = lab.qcow2;
    const frozen = async (read: () => Promise<Numbers>): Promise<Numbers> => {
      await vm.virsh('domfsfreeze', vm.domain);
      try {
        return await read();
      } finally {
        await vm.virsh('domfsthaw', vm.domain);
      }
    };
    const first = await frozen(() => readNumbers(vm.diskPath(0), 'qcow2'));
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const second = await frozen(() => readNumbers(vm.diskPath(1), 'raw'));
    expect(sameInstant(first, second)).toBe(false);
  });

  test('a hung agent lets a freeze run into its time limit, and freezes when it wakes up', async () => {
    const vm = lab.qcow2;
    await vm.hangAgent();
    try {
      const limit = ['guest-agent-timeout', vm.domain, '--timeout', '2'];
      await vm.virsh(...limit);
      await expect(vm.virsh('domfsfreeze', vm.domain)).rejects.toThrow('agent');
      expect(await vm.isFrozen()).toBe(false);
    } finally {
      await vm.resumeAgent();
    }
    try {
      await until('the guest is frozen', () => vm.isFrozen());
    } finally {
      await vm.virsh('guest-agent-timeout', vm.domain, '--timeout', '-2');
      await vm.virsh('domfsthaw', vm.domain);
    }
    expect(await vm.isFrozen()).toBe(false);
  });

  test('a stopped agent is seen as not connected, and comes back', async () => {
    const vm = lab.qcow2;
    await vm.stopAgent();
    try {
      await expect(vm.virsh('domfsfreeze', vm.domain)).rejects.toThrow('not connected');
    } finally {
      await vm.startAgent();
    }
    await vm.virsh('qemu-agent-command', vm.domain, '{"execute":"guest-ping"}');
  });

  test('a pull backup serves both disks of one point in time on a socket in the VM folder', async () => {
    const vm = lab.qcow2;
    const [socket, request] = [join(vm.folder, 'lab.sock'), join(vm.folder, 'lab-backup.xml')];
    const scratch = (name: string): string =>
      `<disk name='${name}' type='file' exportname='${name}'><scratch file='${vm.folder}/${name}.scratch'/></disk>`;
    await writeFile(
      request,
      `<domainbackup mode='pull'><server transport='unix' socket='${socket}'/><disks>
       ${scratch('vda')}${scratch('vdb')}<disk name='vdc' backup='no'/></disks></domainbackup>`,
    );
    try {
      await vm.virsh('domfsfreeze', vm.domain);
      await vm.virsh('backup-begin', vm.domain, request);
      await vm.virsh('domfsthaw', vm.domain);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const [vda, vdb] = [
        await readNumbers(`nbd+unix:///vda?socket=${socket}`, 'raw'),
        await readNumbers(`nbd+unix:///vdb?socket=${socket}`, 'raw'),
      ];
      expect(vda.clean && vdb.clean).toBe(true);
      expect(sameInstant(vda, vdb)).toBe(true);
      expect(await vm.lastNumber()).toBeGreaterThan(vda.last);
    } finally {
      await vm.virsh('domfsthaw', vm.domain);
      await vm.virsh('domjobabort', vm.domain).catch((error: unknown) => console.error(error));
      await rm(request, { force: true });
      await rm(socket, { force: true });
    }
  });

  test('a paused writer leaves the disks as they are: level, but not clean without a freeze', async () => {
    const vm = lab.qcow2;
    await vm.pauseWriter();
    try {
      const before = await readFile(vm.diskPath(1));
      const { vda, vdb } = await numbersOf(vm);
      expect(vda.clean || vdb.clean).toBe(false);
      expect(sameInstant(vda, vdb)).toBe(true);
      expect((await readFile(vm.diskPath(1))).equals(before)).toBe(true);
    } finally {
      await vm.continueWriter();
    }
  });

  test('the VM of TM ssh can be started, and powers off with clean disks that are level', async () => {
    const vm = lab.ssh;
    expect(await vm.xml()).toContain('<STATE>8</STATE>');
    await vm.start();
    expect(await vm.xml()).toContain('<STATE>3</STATE>');
    await vm.powerOff();
    const { vda, vdb } = await numbersOf(vm);
    expect(vda.clean && vdb.clean).toBe(true);
    expect(vda.last - vdb.last).toBeGreaterThanOrEqual(0);
    expect(sameInstant(vda, vdb)).toBe(true);
  });
});
