// The export hook up to the decision whether there is anything to do. It is started for every VM that
// reaches a state, so the rest, which is most of the program, is loaded only when it is needed; even to read the XML
// of a VM that cannot be marked.
import type { EntrypointContext } from '../entrypoint.ts';
import { loadConfig } from '../config/config.ts';
import { readHookInput, type HookInput } from './hook-input.ts';
import { exportKey, notMarked } from './export-mark.ts';

/** @throws an OnevmdumpError of any kind; nothing is left behind then. */
export async function runExportHook(
  { words, stdin, env }: HookInput,
  context: EntrypointContext,
): Promise<void> {
  const { log } = context;
  const xml = await readHookInput(words, stdin);
  const config = await loadConfig({ file: undefined, env, warn: (text) => log.warn(text) });
  const vmId = config.hookVms === 'marked' ? idOfUnmarked(xml) : undefined;
  if (vmId !== undefined) {
    log.info(notMarked(vmId));
    return;
  }
  const { exportByHook } = await import('./export-by-hook.ts');
  await exportByHook(xml, config, context);
}

/**
 * The id of a VM whose XML is whole and does not have the mark's name anywhere: nothing is done with that VM, so
 * nothing else of it has to be right. undefined: it may be marked, or is not as oned writes it.
 */
function idOfUnmarked(xml: Buffer): string | undefined {
  if (xml.includes(exportKey) || !/<\/VM>\s*$/.test(xml.toString('latin1', xml.length - 100))) {
    return undefined;
  }
  return /^<VM>\s*<ID>(\d{1,9})<\/ID>/.exec(xml.toString('latin1', 0, 100))?.[1];
}
