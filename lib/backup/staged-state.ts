// UEFI variables and vTPM state for a backup whose disks OpenNebula's own `prebackup` has staged. From 7.2 on it also stages
// the vTPM state (`disk.tpm.0`, a compressed tar archive: tm_mad/lib/backup_kvm.rb), but never the UEFI variables.
import { posix } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { encodeTpmArchive, parseTpmArchive } from '../bundle/format/tpm-archive.ts';
import { largestState } from '../bundle/format/manifest.ts';
import { BundleError, CommandError, errorMessage, OnevmdumpError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { readMachineState, type MachineState } from '../storage/machine-state.ts';
import { fileHead } from '../tools/file-facts.ts';
import { hasTpm } from '../vm/carried-state.ts';
import type { Vm } from '../vm/vm.ts';

/**
 * Reads the state. What cannot be read is a warning.
 * @param folder the folder in which `prebackup` has staged
 * @param run has a runner of the VM's host
 * @param there has a runner of the machine with the folder
 * @throws the signal's reason
 */
export async function stagedState(
  folder: string,
  vm: Vm,
  run: Run,
  there: Run,
): Promise<MachineState> {
  return readMachineState(vm, run, {
    tpm: hasTpm(vm) ? await stagedTpm(folder, there) : undefined,
  });
}

async function stagedTpm(
  folder: string,
  { runner, log, signal }: Run,
): Promise<Buffer | undefined> {
  const path = posix.join(folder, 'disk.tpm.0');
  const most = largestState['./tpm.tar'];
  try {
    const compressed = await fileHead(runner, path, most, path);
    return encodeTpmArchive(parseTpmArchive(gunzip(compressed, most)));
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof OnevmdumpError)) throw error;
    // Before 7.2 there is none.
    if (!(error instanceof CommandError)) log.warn(`${path}: ${errorMessage(error)}`);
    return undefined;
  }
}

function gunzip(bytes: Buffer, most: number): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: most });
  } catch (cause) {
    throw new BundleError(`it cannot be unpacked: ${errorMessage(cause)}`, { cause });
  }
}
