// Runs an action of the datastore driver. When the exit code is 0, oned takes stdout as the answer; otherwise it shows the
// whole stderr to the user as the error, so stderr must be one line.
import { isDebug, runEntrypoint, type EntrypointContext } from '../entrypoint.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../session/load-config.ts';
import { FailedError, UnsupportedError } from '../report/errors.ts';
import { stdout } from '../report/print.ts';

export interface ActionContext extends EntrypointContext {
  readonly args: readonly string[];
  /** Loads the configuration. @throws UsageError */
  readonly config: () => Promise<Config>;
}

/** Runs one action. `main` returns what oned expects on stdout, without the last line break. */
export async function runAction(
  name: string,
  main: (context: ActionContext) => Promise<string>,
): Promise<void> {
  await runEntrypoint({
    script: name,
    debug: isDebug(process.env),
    driver: true,
    main: async (context) => {
      const config = () =>
        loadConfig({ file: undefined, env: process.env, warn: (text) => context.log.warn(text) });
      const answer = await main({ ...context, args: process.argv.slice(2), config });
      if (answer !== '') await print(`${answer}\n`);
    },
  });
}

/** Refuses an action that makes no sense on our backup datastores. @param why the end of the message */
export async function refuseAction(name: string, why: string): Promise<void> {
  await runAction(name, () =>
    Promise.reject(new UnsupportedError(`onevmdump backup datastores have no ${name}: ${why}`)),
  );
}

async function print(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stdout().write(text, (error) => {
      if (error) reject(new FailedError(`cannot write the answer: ${error.message}`));
      else resolve();
    });
  });
}
