// Runs a TM action: reads what oned gives, and finds out whether the backup goes to our datastore. Every other backup is left
// to OpenNebula's own action, with the same arguments and the same stdin.
import { isDebug, runEntrypoint, type EntrypointContext } from '../entrypoint.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../session/load-config.ts';
import { readStdin } from '../xml/stdin.ts';
import { runInOurPlace } from '../run/replace-process.ts';
import { stockAction } from './stock-action.ts';
import { isOurBackup } from './our-backup.ts';

export interface TmContext extends EntrypointContext {
  readonly args: readonly string[];
  /** The VM's XML, as received. */
  readonly stdin: Buffer;
  /** The path by which the action was started. */
  readonly script: string;
  /** Loads the configuration. @throws UsageError */
  readonly config: () => Promise<Config>;
}

/**
 * Whether the backup goes to our datastore; undefined: that cannot be found out. Where no stock action is installed beside
 * ours, every backup is ours.
 */
export type IsOurs = () => Promise<boolean | undefined>;

/** `stock`: OpenNebula's own action has to be run. */
export type Outcome = 'done' | 'stock';

/** Runs one action. */
export async function runTmAction(
  name: string,
  main: (context: TmContext, isOurs: IsOurs) => Promise<Outcome>,
): Promise<void> {
  await runEntrypoint({
    script: name,
    debug: isDebug(process.env),
    driver: true,
    main: async ({ log, signal }) => {
      const script = process.argv[1] ?? '';
      const args = process.argv.slice(2);
      const stdin = await readStdin(process.stdin);
      const config = (): Promise<Config> =>
        loadConfig({ file: undefined, env: process.env, warn: (text) => log.warn(text) });
      const stock = await stockAction(script);
      const isOurs: IsOurs = () =>
        stock === undefined ? Promise.resolve(true) : isOurBackup(stdin, config, log);
      const outcome = await main({ log, signal, args, stdin, script, config }, isOurs);
      if (outcome === 'done' || stock === undefined) return 0;
      return await runInOurPlace(stock, args, { input: stdin, signal });
    },
  });
}
