// That nobody stops a guest for an export: its clock, seen from outside, and what libvirt says of its domain.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { upCeph, downCeph, type CephLab } from './ceph.ts';
import { makeScene, reportOf, type ExportScene, type Report } from './export-scene.ts';
import { clockLine, whileClockRuns, type ClockReport } from './guest-clock.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { lifecycleOf } from './lifecycle.ts';
import { sameInstant } from './numbers.ts';

let libvirt: LibvirtLab;
let ceph: CephLab;
let scene: ExportScene;
let vm: LabVm;

beforeAll(async () => {
  libvirt = await upLibvirt();
  ceph = await upCeph();
  scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: ceph.datastores,
    ONEVMDUMP_LIBVIRT_URI: libvirt.uri,
  });
  vm = ceph.mixed;
  await vm.start();
  await vm.stopAgent();
});

afterAll(async () => {
  await vm.destroy();
  await scene.close();
  if (ceph.startedNow) await downCeph();
  if (libvirt.startedNow) await downLibvirt();
});

async function watchedExport(
  args: readonly string[],
): Promise<{ report: Report; clock: ClockReport; events: readonly string[] }> {
  let watched: { result: Report; clock: ClockReport } | undefined;
  const events = await lifecycleOf(libvirt, vm, async () => {
    watched = await whileClockRuns(vm, async () => reportOf(await scene.exportOf(vm, args)));
  });
  if (!watched) throw new Error('no export');
  const { result: report, clock } = watched;
  process.stderr.write(`export ${args.join(' ')}: ${clockLine(clock)}\n`);
  return { report, clock, events };
}

describe('an export of a running VM with disks on Ceph and in files, whose guest has no agent', () => {
  test('an export of a running VM with disks on Ceph and in files whose guest has no agent does not pause it, and has both at one point in time', async () => {
    const { report, clock, events } = await watchedExport([]);
    expect(report.consistency).toMatchObject({ level: 'crash', frozenMs: 0 });
    expect(events).toEqual([]);
    expect(clock.pausedMs).toBeLessThan(20);
    // Neither does QEMU itself hold it up. A busy machine, which gives it no processor, is no reason to fail.
    expect(clock.longestGapMs).toBeLessThan(500 + 5 * clock.usualGapMs);
    const { vda, vdb } = await scene.numbersIn(report.bundle, 'raw');
    expect([vda.clean, vdb.clean]).toEqual([false, false]);
    expect(sameInstant(vda, vdb)).toBe(true);
  });

  test('an export of a running VM with --fs-freeze suspend pauses it, which its clock and libvirt show', async () => {
    const { report, clock, events } = await watchedExport(['--fs-freeze', 'suspend']);
    expect(report.consistency.level).toBe('suspend');
    expect(events).toEqual(['Suspended Paused', 'Resumed Unpaused']);
    expect(clock.pausedMs).toBeGreaterThan(20);
    expect(clock.pausedMs).toBeLessThan(report.consistency.frozenMs + 20);
    expect(clock.longestGapMs).toBeGreaterThan(clock.pausedMs);
  });
});
