// The hook that restores UEFI variables, up to the decision whether there are any. It is started for every VM that is
// deployed, so the rest is loaded only when it is needed.
import type { EntrypointContext } from '../entrypoint.ts';
import { loadConfig } from '../session/load-config.ts';
import { nvramKey } from '../vm/carried-state.ts';
import { readHookInput, type HookInput } from './hook-input.ts';

/** Runs the hook. @throws an OnevmdumpError of any kind */
export async function runRestoreNvramHook(
  { words, stdin, env }: HookInput,
  context: EntrypointContext,
): Promise<void> {
  const xml = await readHookInput(words, stdin);
  if (!xml.includes(nvramKey)) return;
  const config = await loadConfig({ file: undefined, env, warn: (text) => context.log.warn(text) });
  const { restoreNvramByHook } = await import('./restore-nvram-by-hook.ts');
  await restoreNvramByHook(xml, config, context);
}
