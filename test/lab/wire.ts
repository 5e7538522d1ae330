// What crosses the network: a proxy before sshd counts it.
import { expect } from '@jest/globals';
import { once } from 'node:events';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { reportOf, type Report } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import type { RemoteScene } from './remote-scene.ts';

interface Wire {
  /** For exports that are to be counted. */
  readonly env: NodeJS.ProcessEnv;
  /** Bytes that hosts have sent. */
  received(): number;
  close(): void;
}

async function countingWire({ sshd, folder, env }: RemoteScene): Promise<Wire> {
  let received = 0;
  const server = createServer((client) => {
    const upstream = connect(sshd.port, '127.0.0.1');
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    upstream.on('data', (data: Buffer) => (received += data.length));
    client.pipe(upstream).pipe(client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const bin = await mkdtemp(join(folder, 'bin-'));
  const config = (await readFile(join(sshd.folder, 'ssh_config'), 'utf8')).replace(
    /Port \d+/,
    `Port ${port}\n  HostKeyAlias [127.0.0.1]:${sshd.port}`,
  );
  await writeFile(join(bin, 'config'), config);
  const script = `#!/bin/sh\nexec /usr/bin/ssh -F '${bin}/config' "$@"\n`;
  await writeFile(join(bin, 'ssh'), script, { mode: 0o755 });
  return {
    env: { PATH: `${bin}:${env['PATH'] ?? ''}` },
    received: () => received,
    close: () => void server.close(),
  };
}

/** Exports a VM from a host, and finds that little more than its data came from there. */
export async function expectFewBytes(
  scene: RemoteScene,
  vm: LabVm,
  what: string,
  args: readonly string[] = [],
): Promise<Report> {
  const wire = await countingWire(scene);
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
