// What crosses the network: a proxy before sshd counts it.
import { once } from 'node:events';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestSshd } from './sshd.ts';

export interface Wire {
  /** For commands whose connections are to be counted. */
  readonly env: NodeJS.ProcessEnv;
  /** Bytes that hosts have sent. */
  received(): number;
  close(): void;
}

/** `folder` gets what is needed; `path` is the PATH that leads to the sshd. */
export async function countingWire(
  sshd: TestSshd,
  { folder, path }: { readonly folder: string; readonly path: string },
): Promise<Wire> {
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
    env: { PATH: `${bin}:${path}` },
    received: () => received,
    close: () => void server.close(),
  };
}
