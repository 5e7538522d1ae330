// `npm run demo`: shows the main job on real disks with an OpenNebula stand-in, and says in plain
// words what happens. Everything lies in one temporary folder, which is removed at the end.
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createOneClient } from '../../lib/one/client.ts';
import { createLog } from '../../lib/report/log.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { startSandbox, type Sandbox } from '../sandbox/sandbox.ts';
import { compareDisks } from '../support/compare-disks.ts';
import { makeVm } from '../support/make-vm.ts';
import { runToEnd } from '../support/shell.ts';
import { limits } from '../support/limits.ts';

const onevmdump = join(dirname(fileURLToPath(import.meta.url)), '../../bin/onevmdump');

function say(text: string): void {
  console.log(`\n\x1b[1m${text}\x1b[0m`);
}

/** Shows and runs one command line; throws when it fails. */
async function type(
  words: readonly string[],
  env: NodeJS.ProcessEnv,
  input?: string,
): Promise<string> {
  const [program = '', ...args] = words;
  console.log(`$ ${input === undefined ? '' : 'onevm show -x 0 | '}${words.join(' ')}`);
  const started = performance.now();
  const { code, stdout, stderr } = await runToEnd(
    program === 'onevmdump' ? onevmdump : program,
    args,
    { env, ...(input === undefined ? {} : { input }) },
  );
  process.stdout.write(stdout + stderr);
  if (code !== 0) throw new Error(`${words.join(' ')} ended with exit code ${code ?? '?'}`);
  console.log(`  (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  return stdout.trim();
}

async function demo(folder: string, sandbox: Sandbox): Promise<void> {
  const session = (await readFile(sandbox.authFile, 'utf8')).trim();
  const log = createLog({ script: 'demo', debug: false, write: () => undefined });
  const one = createOneClient({
    endpoint: sandbox.endpoint,
    session,
    timeoutMs: limits.answerMs,
    log,
  });
  const env = {
    ...process.env,
    ONE_XMLRPC: sandbox.endpoint,
    ONE_AUTH: sandbox.authFile,
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_STAGING_DIR: join(folder, 'staging'),
    ONEVMDUMP_DATASTORE_LOCATION: join(sandbox.dir, 'datastores'),
  };

  say('1. A VM with four disks: a qcow2 overlay on its backing image, a raw disk with holes,');
  say('   a volatile disk and a CD-ROM, with real file systems in them.');
  const vmId = await makeVm(sandbox, one, join(folder, 'sources'));
  console.log(
    `VM ${vmId} is made and powered off; OpenNebula's stand-in is at ${sandbox.endpoint}`,
  );

  say('2. Export it, by its id.');
  const bundle = await type(['onevmdump', 'export', String(vmId), '-d', folder], env);
  console.log(`The bundle has ${formatBytes((await stat(bundle)).size)}.`);

  say('3. Export it from its XML on stdin, without asking OpenNebula, compressed by zstd.');
  const second = join(folder, 'from-stdin.tar.zst');
  await type(
    ['onevmdump', 'export', '--stdin', '--no-lock', '--compress', 'zstd', '-d', second],
    env,
    sandbox.vmXml(vmId),
  );

  say('4. To GNU tar the bundle is an ordinary archive (sizes are those of the disks) ...');
  await type(['tar', '-tvzf', bundle], env);
  say('   ... to onevmdump it has an index and checksums.');
  await type(['onevmdump', 'show', bundle], env);
  await type(['onevmdump', 'verify', bundle], env);

  say('5. Restore it, and make a VM of it.');
  const result = await type(
    ['onevmdump', 'restore', bundle, '--instantiate', '--name', 'web-restored'],
    env,
  );
  const restored = Number(/VM Restored: (\d+)/.exec(result)?.[1]);
  await sandbox.settle();

  say('6. Compare every disk of the two VMs with qemu-img compare.');
  for (const disk of await compareDisks(sandbox, vmId, restored)) {
    console.log(
      `disk ${disk.id} (${disk.format}): identical; ${formatBytes(disk.allocated)} on disk before, ${formatBytes(disk.restoredAllocated)} restored`,
    );
  }
}

async function main(): Promise<void> {
  const started = performance.now();
  // The stand-in takes images from SAFE_DIRS alone, as OpenNebula does: /var/tmp.
  const folder = await mkdtemp('/var/tmp/onevmdump-demo-');
  const sandbox = await startSandbox({ dir: join(folder, 'one') });
  try {
    await demo(folder, sandbox);
    say(`Done in ${((performance.now() - started) / 1000).toFixed(1)} s. Nothing is left behind.`);
  } finally {
    await sandbox.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
