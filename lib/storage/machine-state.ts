// Reads what a VM keeps outside of its disks: UEFI variables, and the state of its vTPM. Without the former, boot
// entries and secure boot keys are lost; without the latter, the disks may not be decryptable. Both are small files,
// read whole.
import { posix } from 'node:path';
import { encodeTpmArchive, parseTpmArchive } from '../bundle/format/tpm-archive.ts';
import { largestState } from '../bundle/format/manifest.ts';
import { child, childText } from '../xml/xml.ts';
import { errorMessage, FailedError, OnevmdumpError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { removeFolder } from '../run/undo-kinds.ts';
import { fileHead, realPath, regularFileSize } from '../tools/file-facts.ts';
import { dumpXml } from '../tools/virsh.ts';
import { firmwareOf, hasTpm, hasUefi } from '../vm/carried-state.ts';
import { nvramFile, stateFolderOf, tpmFolder, vmFolder } from '../vm/names.ts';
import type { Vm } from '../vm/vm.ts';
import { domainOf, isRunning } from '../guest/domain.ts';

/** A field is undefined if the VM does not have it, or if it could not be read, which was reported as a warning. */
export interface MachineState {
  /** The file as it is, whatever its format. */
  readonly nvram?: Buffer;
  /** A tar archive: lib/bundle/format/tpm-archive.ts. */
  readonly tpm?: Buffer;
}

/** OpenNebula's own helper, which its sudo rules let oneadmin run (SCRIPTS_REMOTE_DIR). */
const vtpmSetup = '/var/tmp/one/vtpm_setup';
/** Where libvirt keeps the variables of a firmware that it has chosen itself (OS/FIRMWARE = UEFI, 7.4). */
const libvirtNvram = '/var/lib/libvirt/qemu/nvram';

export interface ReadStateOptions {
  /** Called with what is missing, and why. By default this is a warning in the log. */
  readonly warn?: (text: string) => void;
  /** The state of the vTPM, if it is already known. */
  readonly tpm?: Buffer | undefined;
}

/**
 * Reads both as they are now. If one is missing or cannot be read, that is a warning: the disks are worth a bundle
 * without it.
 * @throws the signal's reason
 */
export async function readMachineState(
  vm: Vm,
  run: Run,
  { warn = (text) => run.log.warn(text), tpm }: ReadStateOptions = {},
): Promise<MachineState> {
  const state: { nvram?: Buffer; tpm?: Buffer } = tpm ? { tpm } : {};
  async function orWarn(what: string, read: () => Promise<void>): Promise<void> {
    try {
      await read();
    } catch (error) {
      run.signal.throwIfAborted();
      if (!(error instanceof OnevmdumpError)) throw error;
      warn(`${what} not in the bundle: ${errorMessage(error)}`);
    }
  }
  if (vm.history === undefined) return state;
  const folder = vmFolder(run.datastoreLocation, vm.history.datastoreId, vm.id);
  if (hasUefi(vm)) {
    await orWarn(`the UEFI variables of VM ${vm.id} are`, async () => {
      state.nvram = await readNvram(vm, folder, run);
    });
  }
  if (hasTpm(vm) && !tpm) {
    await orWarn(`the state of the vTPM of VM ${vm.id} is`, async () => {
      state.tpm = await (isRunning(vm) ? readRunningTpm(vm, folder, run) : readTpm(folder, run));
    });
  }
  return state;
}

/**
 * Calls `fix`, which fixes the disks' point in time. The state is read before and after that, so that the guest does
 * not wait for it. If both are the same, which is usual, the state is also that of the point in time.
 */
export async function stateAround<T>(
  vm: Vm,
  run: Run,
  fix: () => Promise<T>,
): Promise<{ readonly fixed: T; readonly state: MachineState }> {
  const before = isRunning(vm)
    ? await readMachineState(vm, run, { warn: () => undefined })
    : undefined;
  const fixed = await fix();
  const state = await readMachineState(vm, run);
  if (before && !(same(before.nvram, state.nvram) && same(before.tpm, state.tpm))) {
    run.log.warn(
      `the UEFI variables or the vTPM of VM ${vm.id} changed while its disks' point in time was fixed: the bundle has them as they were right after it`,
    );
  }
  return { fixed, state };
}

async function readNvram(vm: Vm, folder: string, run: Run): Promise<Buffer> {
  const what = `the UEFI variables of VM ${vm.id}`;
  const path = await realPath(run.runner, await nvramPath(vm, folder, run), what);
  const size = await regularFileSize(run.runner, path, what);
  const most = largestState['./nvram'];
  if (size > most) throw new FailedError(`${path} has ${size} bytes, more than ${most}`);
  return await fileHead(run.runner, path, most, what);
}

/** A running VM may have been renamed since it was started, so libvirt is asked for the file. */
async function nvramPath(vm: Vm, folder: string, run: Run): Promise<string> {
  if (isRunning(vm)) {
    const os = child(await dumpXml(domainOf(vm, run)), 'os');
    const path = os && childText(os, 'nvram')?.trim();
    if (path?.startsWith('/') === true) return path;
  }
  if (firmwareOf(vm) === 'UEFI') return posix.join(libvirtNvram, `one-${vm.id}_VARS.fd`);
  const path = nvramFile(folder, vm.name);
  // A link in the VM's folder can lead anywhere its owner likes.
  const real = await realPath(run.runner, path, `the UEFI variables of VM ${vm.id}`);
  const home = await realPath(run.runner, folder, `the folder of VM ${vm.id}`);
  if (posix.dirname(real) !== home) throw new FailedError(`${path} is a link to ${real}`);
  return real;
}

/**
 * Others cannot read swtpm's own files, so OpenNebula's helper copies them, as it does for OpenNebula's own backups.
 */
async function readRunningTpm(vm: Vm, folder: string, run: Run): Promise<Buffer> {
  const { journal, runner } = run;
  const copy = stateFolderOf(folder, journal.runId);
  const undo = await journal.record(removeFolder.undo({ path: copy }), runner.target);
  await runner.run(
    { program: 'mkdir', args: ['-m', '0700', '--', copy] },
    { doing: `make ${copy}` },
  );
  try {
    const args = ['-n', vtpmSetup, 'backup', domainOf(vm, run).name, copy];
    await runner.run({ program: 'sudo', args }, { doing: `copy the state of the vTPM` });
    return await readTpm(copy, run);
  } finally {
    await runner.run({ program: 'rm', args: ['-rf', '--', copy] }, { doing: `remove ${copy}` });
    await undo.done();
  }
}

/** Reads `<folder>/tpm` as a tar archive, which is parsed and written anew. */
async function readTpm(folder: string, run: Run): Promise<Buffer> {
  const { stdout } = await run.runner.run(
    { program: 'tar', args: ['-C', folder, '-cf', '-', '--format=ustar', '--', 'tpm'] },
    { doing: `read ${tpmFolder(folder)}`, maxOutput: largestState['./tpm.tar'] },
  );
  return encodeTpmArchive(parseTpmArchive(stdout));
}

function same(one: Buffer | undefined, other: Buffer | undefined): boolean {
  return one && other ? one.equals(other) : one === other;
}
