// A sandbox in a temporary folder, and clients for it.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOneClient, type OneClient } from '../../lib/one/client.ts';
import { findSession } from '../../lib/one/credentials.ts';
import { startSandbox, type Sandbox } from '../sandbox/sandbox.ts';
import { limits } from '../support/limits.ts';

export interface World {
  readonly folder: string;
  readonly sandbox: Sandbox;
  /** As oneadmin. */
  readonly one: OneClient;
  /** As the user whose auth file this is. */
  readonly as: (authFile: string) => Promise<OneClient>;
  readonly close: () => Promise<void>;
}

const nothing = (): void => undefined;
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export async function openWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'onevmdump-one-'));
  // Images are registered from files beside the sandbox's own folder.
  const sandbox = await startSandbox({ dir: join(folder, 'one'), safeDirs: join(folder, 'safe') });
  const as = async (authFile: string): Promise<OneClient> =>
    createOneClient({
      endpoint: sandbox.endpoint,
      session: await findSession({ ONE_AUTH: authFile }),
      timeoutMs: limits.answerMs,
      log,
    });
  return {
    folder,
    sandbox,
    one: await as(sandbox.authFile),
    as,
    close: async () => {
      await sandbox.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A VM as it was recorded, in the sandbox. @returns its id. */
export async function addRecordedVm(sandbox: Sandbox, name: string): Promise<number> {
  const file = join(import.meta.dirname, '../fixtures/vm', name);
  return sandbox.addVm(await readFile(file, 'utf8'));
}
