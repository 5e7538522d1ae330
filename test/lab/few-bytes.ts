// That only data crosses the network.
import { expect } from '@jest/globals';
import { countingWire } from '../support/wire.ts';
import { reportOf, type Report } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import type { RemoteScene } from './remote-scene.ts';

/** Exports a VM from a host, and finds that little more than its data came from there. */
export async function expectFewBytes(
  scene: RemoteScene,
  vm: LabVm,
  what: string,
  args: readonly string[] = [],
): Promise<Report> {
  const wire = await countingWire(scene.sshd, {
    folder: scene.folder,
    path: scene.env['PATH'] ?? '',
  });
  try {
    const report = reportOf(await scene.exportOf(vm, args, { env: wire.env }));
    const data = report.disks.reduce((sum, { dataBytes }) => sum + dataBytes, 0);
    const size = report.disks.reduce((sum, { virtualSize }) => sum + virtualSize, 0);
    const received = wire.received();
    process.stderr.write(`${what}: ${received} bytes came for ${data} of data, ${size} of disks\n`);
    expect(received).toBeLessThan(data * 1.04);
    expect(size).toBeGreaterThan(data * 2);
    return report;
  } finally {
    wire.close();
  }
}
