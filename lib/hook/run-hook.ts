// The export hook up to the decision whether there is anything to do. It is started for every VM that
// reaches a state, so the rest, which is most of the program, is loaded only when it is needed.
import type { EntrypointContext } from '../entrypoint.ts';
import { loadConfig } from '../input/config.ts';
import { decodeVmInput, readStdin, type InputStream } from '../input/stdin.ts';
import { parseVm } from '../input/vm-xml.ts';
import type { Log } from '../report/log.ts';
import { isWanted } from './owner-wish.ts';

export interface HookInput {
  /** The words behind the program's name. */
  readonly words: readonly string[];
  readonly stdin: InputStream;
  readonly env: NodeJS.ProcessEnv;
}

/** @throws an OnevmdumpError of any kind; nothing is left behind then. */
export async function runExportHook(
  { words, stdin, env }: HookInput,
  context: EntrypointContext,
): Promise<void> {
  const { log } = context;
  const vm = parseVm(decodeVmInput(await readInput(words, stdin, log)));
  const config = await loadConfig({ file: undefined, env, warn: (text) => log.warn(text) });
  if (!isWanted(vm, config, log)) {
    log.info(`VM ${vm.id} is not marked by ONEVMDUMP_EXPORT = "YES": nothing to do`);
    return;
  }
  const { exportByHook } = await import('./export-by-hook.ts');
  await exportByHook(vm, config, context);
}

/** With ARGUMENTS_STDIN = yes all is on stdin; else $TEMPLATE is one of the words, and stdin is empty. */
async function readInput(words: readonly string[], stdin: InputStream, log: Log): Promise<Buffer> {
  const last = words.at(-1);
  if (last === undefined) return readStdin(stdin);
  if (words.length > 1) log.warn(`${words.length - 1} arguments before the VM's XML are not used`);
  return Buffer.from(last);
}
