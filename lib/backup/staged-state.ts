// What a VM keeps beside its disks, for a backup whose disks OpenNebula's own `prebackup` has staged. From 7.2 on that stages the
// state of the vTPM, too (`disk.tpm.0`, a compressed tar archive: tm_mad/lib/backup_kvm.rb), and never the UEFI variables.
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
 * @param folder where `prebackup` has staged
 * @param there a run whose runner works on that machine; `run` works on the VM's host
 * @throws the signal's reason; what is missing is a warning
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
