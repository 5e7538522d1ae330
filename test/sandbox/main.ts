// Starts the OpenNebula stand-in by hand: `npm run sandbox -- --dir /tmp/sandbox --port 2633`.
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startSandbox } from './sandbox.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '2633' },
      dir: { type: 'string' },
      version: { type: 'string' },
      'safe-dirs': { type: 'string', default: '/var/tmp' },
    },
  });
  if (!/^\d+$/.test(values.port)) throw new Error(`--port ${values.port} is not a number`);
  const dir = values.dir ?? (await mkdtemp(join(tmpdir(), 'onevmdump-sandbox-')));
  const sandbox = await startSandbox({
    dir,
    port: Number(values.port),
    safeDirs: values['safe-dirs'],
    ...(values.version === undefined ? {} : { version: values.version }),
  });
  console.log(`ONE_XMLRPC=${sandbox.endpoint}`);
  console.log(`ONE_AUTH=${sandbox.authFile}`);
  console.log(`folder: ${sandbox.dir} (it stays when the sandbox ends; end it with Ctrl-C)`);
  const stop = (): void => void sandbox.stop();
  process.once('SIGINT', stop).once('SIGTERM', stop);
}

main().catch((error: unknown) => {
  console.error(`sandbox: ${(error as Error).message}`);
  process.exitCode = 1;
});
