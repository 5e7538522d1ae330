// A sandbox, a private set of folders, and the built command run against them as a child process.
import { mkdtemp, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createOneClient, type OneClient } from '../../lib/one/client.ts';
import { createLog } from '../../lib/report/log.ts';
import { runToEnd, type Ended } from './shell.ts';
import { startSandbox, type Sandbox } from '../sandbox/sandbox.ts';
import { limits } from './limits.ts';

const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;

export interface World {
  readonly sandbox: Sandbox;
  readonly one: OneClient;
  /** Everything of this world lies here; under /var/tmp, which image datastores take files from. */
  readonly folder: string;
  /** Where bundles go. */
  readonly bundles: string;
  readonly datastores: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs the built command. */
  run(
    args: readonly string[],
    options?: {
      readonly env?: NodeJS.ProcessEnv;
      readonly input?: string | Uint8Array;
      readonly started?: (pid: number) => void;
    },
  ): Promise<Ended>;
  /** Files this tool could have left: journals, bundles and parts, staged disks, private folders. */
  leftovers(): Promise<string[]>;
  close(): Promise<void>;
}

/** @param version the release of OpenNebula whose rules hold; the recorded one without it */
export async function makeWorld(version?: string): Promise<World> {
  const folder = await mkdtemp('/var/tmp/onevmdump-e2e-');
  const bundles = join(folder, 'bundles');
  const temp = join(folder, 'tmp');
  await mkdir(bundles);
  await mkdir(temp);
  const sandbox = await startSandbox({
    ...{ dir: join(folder, 'one'), imageCopyMs: 1, deployMs: 1 },
    ...(version === undefined ? {} : { version }),
  });
  const session = (await readFile(sandbox.authFile, 'utf8')).trim();
  const log = createLog({ script: 'test', debug: false, write: () => undefined });
  const datastores = join(sandbox.dir, 'datastores');
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: folder,
    TMPDIR: temp,
    ONE_XMLRPC: sandbox.endpoint,
    ONE_AUTH: sandbox.authFile,
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_STAGING_DIR: join(folder, 'staging'),
    ONEVMDUMP_DATASTORE_LOCATION: datastores,
    ONEVMDUMP_DESTINATION: bundles,
  };
  return {
    sandbox,
    one: createOneClient({ endpoint: sandbox.endpoint, session, timeoutMs: limits.answerMs, log }),
    folder,
    bundles,
    datastores,
    env,
    run: (args, options = {}) =>
      runToEnd(onevmdump, args, { ...options, env: { ...env, ...options.env } }),
    async leftovers() {
      const found: string[] = [];
      for (const place of [bundles, temp, join(folder, 'staging'), join(folder, 'state/journal')]) {
        const names = await readdir(place, { recursive: true }).catch(() => []);
        found.push(...names.map((name) => join(place, name)));
      }
      return found;
    },
    async close() {
      await sandbox.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
