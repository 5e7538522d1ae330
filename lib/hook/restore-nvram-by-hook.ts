// Writes the UEFI variables in a VM's user template into the VM's folder on its host, while OpenNebula deploys the VM.
import type { EntrypointContext } from '../entrypoint.ts';
import type { Config } from '../config/config.ts';
import { parseVm } from '../vm/vm-xml.ts';
import { placeNvram } from '../restore/place-nvram.ts';
import { targetOfHost } from '../run/local-host.ts';
import { localRunner } from '../run/local-runner.ts';
import { carriedNvram, hasUefi } from '../vm/carried-state.ts';
import { withConnections } from '../session/with-run.ts';

/**
 * Writes the variables, if there are any and no file of them exists.
 * @param xml the VM's XML, as the hook manager gave it
 * @throws UsageError, CommandError, ConnectionError
 */
export async function restoreNvramByHook(
  xml: Buffer,
  config: Config,
  { log, signal }: EntrypointContext,
): Promise<void> {
  const vm = parseVm(xml);
  const nvram = carriedNvram(vm);
  if (!nvram || !hasUefi(vm) || !vm.history) return;
  const { hostname } = vm.history;
  const options = { datastoreLocation: config.datastoreLocation, how: 'new' } as const;
  const target = await targetOfHost(hostname);
  const result = target
    ? await withConnections('read', { config, log }, ({ connections }) =>
        placeNvram(vm, nvram, connections.runner(target, signal), options),
      )
    : await placeNvram(vm, nvram, localRunner(log, signal), options);
  if (result === 'written') log.info(`VM ${vm.id} has its UEFI variables`);
  // A VM that was deployed before has variables of its own.
  else if (vm.history.seq > 0) log.info(`VM ${vm.id} keeps its UEFI variables`);
  // OpenNebula was faster than this hook.
  else {
    log.warn(
      `VM ${vm.id} has other UEFI variables already, which are kept; those in the bundle can be copied to its folder while it is powered off: docs/restore.md`,
    );
  }
}
