// The export hook for a VM that may be marked: checks whether it is, exports it as the configuration says, and removes old
// bundles.
import { basename } from 'node:path';
import type { EntrypointContext } from '../entrypoint.ts';
import { exportVm, type ExportReport } from '../export-vm.ts';
import { parseCompression } from '../config/compression.ts';
import type { Config } from '../config/config.ts';
import { hostOfDisks } from '../vm/disk-host.ts';
import { requireKvm } from '../vm/hypervisor.ts';
import { parseVm } from '../vm/vm-xml.ts';
import type { OneClient } from '../one/client.ts';
import { getVm } from '../one/vms.ts';
import { FailedError, UsageError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { ignoreOutputErrors, printLine } from '../report/print.ts';
import { silent } from '../report/progress.ts';
import {
  localBundleFolder,
  newestBundle,
  removeOldBundles,
  type RetentionFolder,
} from '../bundle/location/retention.ts';
import { BusyElsewhereError, BusyError } from '../session/export-lock.ts';
import type { Run } from '../run/run.ts';
import type { SshTarget } from '../run/runner.ts';
import type { KnownVm } from '../vm/identity.ts';
import { stateName, workBefore } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';
import { connect, withRun } from '../session/with-run.ts';
import { notMarkedMessage } from './export-mark.ts';
import { isToBeExported, keepCount } from './owner-settings.ts';

/**
 * Exports the VM if the hook is to export it and no other export of it runs, and prints the bundle's path.
 * @param xml the VM's XML, as the hook manager gave it
 * @throws an OnevmdumpError of any kind; then nothing is left behind
 */
export async function exportByHook(
  xml: Buffer,
  config: Config,
  { log, signal }: EntrypointContext,
): Promise<void> {
  const vm = parseVm(xml);
  if (!isToBeExported(vm, config, log)) {
    log.info(notMarkedMessage(vm.id));
    return;
  }
  const work = workBefore(vm, vm.previous);
  if (work !== undefined) {
    const state = stateName(vm.state, vm.lcmState);
    log.info(`VM ${vm.id} is ${state} again after ${work}, as it was before: nothing to do`);
    return;
  }
  requireKvm(vm);
  ignoreOutputErrors();
  if (config.hookDestination === '') {
    throw new UsageError(
      'no folder is configured for the bundles of hooks: set HOOK_DESTINATION in onevmdump.conf',
    );
  }
  const one = config.hookLock
    ? await connect({ config, endpoint: undefined, log, signal })
    : undefined;
  const setup = {
    config,
    action: 'export',
    vmId: vm.id,
    remote: await diskHost(vm, config),
    one,
    log,
    progress: silent,
    signal,
  } as const;
  try {
    const report = await withRun(setup, (run) => exportAndRotate(vm, config, run, one));
    if (report) await printLine(report.bundle);
  } catch (error) {
    // An export on another machine may have been killed, so an administrator has to see this error.
    if (!(error instanceof BusyError) || error instanceof BusyElsewhereError) throw error;
    log.info(`${error.message}: nothing to do`);
  }
}

/** @returns undefined when the VM has a bundle younger than HOOK_MIN_AGE */
async function exportAndRotate(
  given: Vm,
  config: Config,
  run: Run,
  one: OneClient | undefined,
): Promise<ExportReport | undefined> {
  const folder = localBundleFolder(config.hookDestination, run.log);
  if (await isRecent(folder, known(given, config), config.hookMinAge, run.log)) return undefined;
  const vm = one ? await currentVm(given, config, one) : given;
  const report = await exportVm(
    {
      vm,
      lock: one !== undefined,
      // The slash marks it as a folder; without it, it could be the name of a bundle.
      destination: `${config.hookDestination}/`,
      compression: parseCompression(config.compress),
      cloudName: config.cloudName,
      freeze: {
        mode: config.fsFreeze,
        required: false,
        agentWaitMs: config.hookAgentWait * 1000,
      },
      way: config.snapshot,
    },
    run,
    one,
  );
  const keep = keepCount(vm, config, run.log);
  if (keep > 0) {
    const made = basename(report.bundle);
    await removeOldBundles(folder, { own: known(vm, config), keep, made }, run.log);
  }
  return report;
}

/** The VM and its cloud, which bundles are compared with to see whether they are this VM's. */
function known(vm: Vm, { cloudName }: Config): KnownVm {
  return { vm, ...(cloudName === '' ? {} : { cloud: { name: cloudName } }) };
}

async function isRecent(
  folder: RetentionFolder,
  own: KnownVm,
  minAge: number,
  log: Log,
): Promise<boolean> {
  if (minAge === 0) return false;
  const newest = await newestBundle(folder, own);
  const age = Math.floor(Date.now() / 1000) - (newest ?? -Infinity);
  if (age < 0 || age >= minAge) return false;
  log.info(`VM ${own.vm.id} was exported ${age} s ago, less than HOOK_MIN_AGE: nothing to do`);
  return true;
}

/** The host of the VM's disks. @throws UnsupportedError when REMOTE_HOST is auto and the VM has no host */
async function diskHost(
  vm: Vm,
  { remoteHost, remoteUser }: Config,
): Promise<SshTarget | undefined> {
  if (remoteHost === '') return undefined;
  const configured = { host: remoteHost, ...(remoteUser === '' ? {} : { user: remoteUser }) };
  return await hostOfDisks(configured, vm, 'REMOTE_HOST');
}

/**
 * Asks oned for the VM, because the XML that a hook gets may be old: the hook may have waited in the hook manager's queue, or
 * have been started again by `onehook retry`.
 * @throws FailedError when the VM is in another state by now, or its disks are on another host
 */
async function currentVm(given: Vm, config: Config, one: OneClient): Promise<Vm> {
  const vm = await getVm(one, given.id);
  if (vm.state !== given.state || vm.lcmState !== given.lcmState) {
    const [from, to] = [given, vm].map(({ state, lcmState }) => stateName(state, lcmState));
    throw new FailedError(
      `VM ${vm.id} went from ${from ?? ''} to ${to ?? ''} before the hook started; nothing was exported`,
    );
  }
  if ((await diskHost(vm, config))?.host !== (await diskHost(given, config))?.host) {
    throw new FailedError(
      `VM ${vm.id} went to host ${vm.history?.hostname ?? ''} before the hook started; nothing was exported`,
    );
  }
  return vm;
}
