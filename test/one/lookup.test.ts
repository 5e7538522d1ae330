// How the client finds oned's host: in a network namespace whose name server does not answer, with an interface that has an IPv6
// link-local address, as on a front-end whose DNS is out of reach.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { limits } from '../support/limits.ts';
import { runToEnd } from '../support/shell.ts';

/** Answers on 127.0.0.1 alone, and asks itself by a name: by Node's own means, then by our client. */
const program = `
import { createServer, get } from 'node:http';
import { createOneClient } from './lib/one/client.ts';
const nothing = () => undefined;
const body = '<?xml version="1.0"?><methodResponse><params><param><value><array><data><value><boolean>1</boolean></value><value><string>6.10.5</string></value><value><i4>0</i4></value></data></array></value></param></params></methodResponse>';
const server = createServer((request, response) => response.end(body));
server.listen(0, '127.0.0.1', async () => {
  const endpoint = 'http://' + process.argv[2] + ':' + server.address().port + '/RPC2';
  const byNode = await new Promise((resolve) => get(endpoint, () => resolve('reached')).on('error', (error) => resolve(error.code)));
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const client = createOneClient({ endpoint, session: 'a:b', timeoutMs: ${limits.answerMs}, log });
  const byUs = await client.text('one.system.version').catch((error) => error.message);
  process.stdout.write(JSON.stringify({ byNode, byUs }));
  process.exit(0);
});
`;

const namespace = `
mount --bind "$1/hosts" /etc/hosts && mount --bind "$1/resolv.conf" /etc/resolv.conf || exit 1
ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up || exit 1
until ip -6 addr show dev v0 | grep -q 'fe80:'; do sleep 0.1; done
shift
exec "$@"`;

function whyNot(): string | undefined {
  try {
    const make = 'ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up';
    const seen = execFileSync('unshare', [
      '-n',
      '-m',
      'sh',
      '-c',
      `${make} && sleep 0.5 && ip -6 a`,
    ]);
    return seen.includes('fe80:') ? undefined : 'there is no IPv6 here';
  } catch (error) {
    return `network namespaces are not possible here: ${String(error)}`;
  }
}
const reason = whyNot();
if (reason !== undefined) process.stderr.write(`skipped: ${reason}\n`);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-lookup-'));
  await writeFile(
    join(folder, 'resolv.conf'),
    'nameserver 192.0.2.1\noptions timeout:1 attempts:1\n',
  );
  await build({
    stdin: { contents: program, resolveDir: join(import.meta.dirname, '../..') },
    bundle: true,
    platform: 'node',
    outfile: join(folder, 'ask.cjs'),
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function ask(name: string, hosts: string): Promise<unknown> {
  await writeFile(join(folder, 'hosts'), hosts);
  const command = [process.execPath, join(folder, 'ask.cjs'), name];
  const args = ['-n', '-m', 'sh', '-c', namespace, 'sh', folder, ...command];
  const { code, stdout, stderr } = await runToEnd('unshare', args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

(reason === undefined ? describe : describe.skip)('without DNS, a name in the hosts file', () => {
  test('without DNS, a name in the hosts file that has an IPv4 address only is found, as by other programs, though not by Node alone', async () => {
    expect(await ask('localhost', '127.0.0.1 localhost\n')).toEqual({
      byNode: 'EAI_AGAIN',
      byUs: '6.10.5',
    });
  });

  test('without DNS, a name in the hosts file that has two addresses is tried at both', async () => {
    expect(await ask('both', '::1 both\n127.0.0.1 both\n')).toMatchObject({ byUs: '6.10.5' });
  });

  test('without DNS, a name that is not in the hosts file is reported with its reason', async () => {
    expect(await ask('nowhere', '127.0.0.1 localhost\n')).toMatchObject({
      byUs: expect.stringContaining('the name of the host cannot be looked up now') as unknown,
    });
  });
});
