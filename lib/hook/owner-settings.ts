// The settings of the export hook that a VM's owner writes into the VM's user template. They may write anything there: a
// value that is not valid is ignored with a warning.
import type { Config } from '../config/config.ts';
import { childrenOf } from '../xml/xml.ts';
import type { Log } from '../report/log.ts';
import type { Vm } from '../vm/vm.ts';
import { exportKey } from './export-mark.ts';

/** How many of the VM's bundles are kept. */
const keepKey = 'ONEVMDUMP_KEEP_LAST';

/** Whether the hook exports this VM. */
export function isToBeExported(vm: Vm, { hookVms }: Pick<Config, 'hookVms'>, log: Log): boolean {
  if (hookVms === 'all') return true;
  const text = textOf(vm, exportKey);
  const word = text?.toUpperCase();
  if (text !== undefined && word !== 'YES' && word !== 'NO') {
    log.warn(`${inWords(vm, exportKey, text)} is neither YES nor NO and is treated as NO`);
  }
  return word === 'YES';
}

/** How many bundles of the VM are kept; 0 for all. */
export function keepCount(
  vm: Vm,
  { hookKeepLast, hookKeepLastMax }: Pick<Config, 'hookKeepLast' | 'hookKeepLastMax'>,
  log: Log,
): number {
  const text = textOf(vm, keepKey);
  if (text === undefined) return hookKeepLast;
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    const instead = hookKeepLast === 0 ? 'all are kept' : `the last ${hookKeepLast} are kept`;
    log.warn(
      `${inWords(vm, keepKey, text)} is not a number of at least 1; as configured, ${instead}`,
    );
    return hookKeepLast;
  }
  if (Number(text) <= hookKeepLastMax) return Number(text);
  log.warn(
    `${inWords(vm, keepKey, text)} is more than HOOK_KEEP_LAST_MAX; ${hookKeepLastMax} are kept`,
  );
  return hookKeepLastMax;
}

/** The value, trimmed; undefined when it is missing or empty. Several values are joined, which no setting accepts. */
function textOf({ userTemplate }: Vm, key: string): string | undefined {
  const texts = childrenOf(userTemplate, key).map(({ text }) => text.trim());
  return texts.join(', ') || undefined;
}

function inWords({ id }: Vm, key: string, text: string): string {
  return `VM ${id}: ${key} = ${JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text)}`;
}
