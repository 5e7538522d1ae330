// The export hook up to the decision whether there is anything to do. It is started for every VM that reaches a state, so the
// rest, which is most of the program, is loaded only for VMs that may be marked. Not even the XML of others is parsed.
import type { EntrypointContext } from '../entrypoint.ts';
import { loadConfig } from '../session/load-config.ts';
import { readHookInput, type HookInput } from './hook-input.ts';
import { exportKey, notMarkedMessage } from './export-mark.ts';

/**
 * Runs the export hook.
 * @throws an OnevmdumpError of any kind; then nothing is left behind
 */
export async function runExportHook(
  { words, stdin, env }: HookInput,
  context: EntrypointContext,
): Promise<void> {
  const { log } = context;
  const xml = await readHookInput(words, stdin);
  const config = await loadConfig({ file: undefined, env, warn: (text) => log.warn(text) });
  const vmId = config.hookVms === 'marked' ? idOfUnmarked(xml) : undefined;
  if (vmId !== undefined) {
    log.info(notMarkedMessage(vmId));
    return;
  }
  const { exportByHook } = await import('./export-by-hook.ts');
  await exportByHook(xml, config, context);
}

/**
 * The id of a VM whose XML is complete and does not contain the mark's name. Nothing is done with such a VM, so the rest of
 * its XML is not validated. Undefined: the VM may be marked, or the XML is not as oned writes it.
 */
function idOfUnmarked(xml: Buffer): string | undefined {
  if (xml.includes(exportKey) || !/<\/VM>\s*$/.test(xml.toString('latin1', xml.length - 100))) {
    return undefined;
  }
  return /^<VM>\s*<ID>(\d{1,9})<\/ID>/.exec(xml.toString('latin1', 0, 100))?.[1];
}
