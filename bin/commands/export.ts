// onevmdump export: VM -> bundle.
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { exportVm } from '../../lib/export-vm.ts';
import { parseCompression } from '../../lib/config/compression.ts';
import type { Config } from '../../lib/config/config.ts';
import { parseFreezeMode } from '../../lib/config/freeze-mode.ts';
import { parseSnapshotWay } from '../../lib/config/snapshot-way.ts';
import { hostOfDisks } from '../../lib/vm/disk-host.ts';
import { parseSshTarget } from '../../lib/run/ssh-target.ts';
import { requireKvm } from '../../lib/vm/hypervisor.ts';
import { decodeVmInput, readStdin } from '../../lib/xml/stdin.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { OneClient } from '../../lib/one/client.ts';
import { getVm } from '../../lib/one/vms.ts';
import { errorMessage, UsageError } from '../../lib/report/errors.ts';
import type { SshTarget } from '../../lib/run/runner.ts';
import type { FreezeRequest } from '../../lib/guest/freeze.ts';
import type { Vm } from '../../lib/vm/vm.ts';
import { connect, withRun } from '../../lib/session/with-run.ts';
import { configFor, parseId, printMade, withProgress, type CliCommand } from './command.ts';
import { exportDescription, type ExportOptions } from './export-options.ts';

export const exportCommand: CliCommand<ExportOptions> = {
  description: exportDescription,
  run: runExport,
};

async function runExport(
  options: ExportOptions,
  { log, signal }: EntrypointContext,
): Promise<void> {
  const vmId = options.vm_id === undefined ? undefined : parseId(options.vm_id, 'the VM id');
  if (!options.stdin && vmId === undefined) {
    throw new UsageError('which VM? Give its id, or its XML with --stdin (see: onevmdump --help)');
  }
  if (options.destinationPath === '') throw new UsageError('--destination-path is empty');
  const config = await configFor(options, log);
  const requested = remoteTarget(options, config);
  const destinationHost = destinationTarget(options, config);
  const onlyDisks = options.disk?.map((id) => parseId(id, 'a disk id'));
  const compression = parseCompression(options.compress ?? config.compress);
  const freeze = requestedFreeze(options, config);
  const way =
    options.snapshot === undefined
      ? config.snapshot
      : parseOption('--snapshot', options.snapshot, parseSnapshotWay);
  // With the XML on stdin and without a lock, OpenNebula is not needed.
  const alone = options.stdin && options.noLock && options.endpoint === undefined;
  const one = alone
    ? undefined
    : await connect({ config, endpoint: options.endpoint, log, signal });
  const vm = await readVm(vmId, options.stdin, one);
  requireKvm(vm);
  const remote = await hostOfDisks(requested, vm, remoteOption);
  const report = await withProgress(log, (progress) =>
    withRun({ config, action: 'export', vmId: vm.id, remote, one, log, progress, signal }, (run) =>
      exportVm(
        {
          vm,
          lock: !options.noLock,
          destination: options.destinationPath ?? config.destination,
          destinationHost,
          compression,
          cloudName: config.cloudName,
          freeze,
          way,
          onlyDisks,
        },
        run,
        one,
      ),
    ),
  );
  await printMade(options, report.bundle, report);
}

const remoteOption = '--remote-host';

/** The host of the disks according to options and settings. @throws UsageError */
function remoteTarget(
  { remoteHost, remoteUser }: ExportOptions,
  config: Config,
): SshTarget | undefined {
  const names = { hostOption: remoteOption, userOption: '--remote-user' };
  const host = remoteHost ?? (config.remoteHost || undefined);
  const user = remoteUser ?? (host === undefined ? undefined : config.remoteUser || undefined);
  return parseSshTarget(host, user, names);
}

/** @throws UsageError */
function destinationTarget(
  { destinationHost, destinationUser }: ExportOptions,
  config: Config,
): SshTarget | undefined {
  const names = { hostOption: '--destination-host', userOption: '--destination-user' };
  const host = destinationHost ?? (config.destinationHost || undefined);
  const user =
    destinationUser ?? (host === undefined ? undefined : config.destinationUser || undefined);
  return parseSshTarget(host, user, names);
}

function requestedFreeze(options: ExportOptions, config: Config): FreezeRequest {
  const { fsFreeze } = options;
  const mode =
    fsFreeze === undefined
      ? config.fsFreeze
      : parseOption('--fs-freeze', fsFreeze, parseFreezeMode);
  if (options.requireFreeze && mode === 'none') {
    throw new UsageError('--require-freeze cannot be met with --fs-freeze none');
  }
  return { mode, required: options.requireFreeze };
}

/** @throws UsageError that names the option */
function parseOption<T>(option: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    throw new UsageError(`${option}: ${errorMessage(error)}`, { cause: error });
  }
}

async function readVm(
  vmId: number | undefined,
  stdin: boolean,
  one: OneClient | undefined,
): Promise<Vm> {
  if (stdin) {
    const vm = parseVm(decodeVmInput(await readStdin(process.stdin)));
    if (vmId !== undefined && vmId !== vm.id) {
      throw new UsageError(`the XML on stdin is of VM ${vm.id}, not of VM ${vmId}`);
    }
    return vm;
  }
  if (!one || vmId === undefined) throw new UsageError('which VM? Give its id');
  return getVm(one, vmId);
}
