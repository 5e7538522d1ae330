// Writes UEFI variables to the file where libvirt looks for them: <VM's folder>/<VM's name>_VARS.fd on the host. This has to
// happen before OpenNebula's `deploy`, which makes a file of empty variables unless there is one
// (vmm_mad/remotes/kvm/deploy, 6.4 to 7.4).
import { posix } from 'node:path';
import { UsageError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';
import { nvramFile, vmFolder } from '../vm/names.ts';
import type { Vm } from '../vm/vm.ts';

/** The result: the file has this content, or a file with other content exists already. */
export type NvramResult = 'written' | 'exists';

// $1 the folder, $2 the file, $3 `new` or `over`. The folder's owner could replace a file by a symbolic link at any time. So the
// content is written to a new file (set -C), which then gets its name by ln (never over an existing file) or by mv. As
// root, folder and file are given to the owner of the datastore's folder, who is the user of OpenNebula's drivers. The
// datastore's folder is not made: if it is missing, the datastore is not mounted.
const script = `
umask 077
[ -d "$1" ] || mkdir -m 0755 -- "$1" || [ -d "$1" ] || exit
part=$(mktemp -u -- "$2.XXXXXXXX") || exit
trap 'rm -f -- "$part"' EXIT
set -C
cat > "$part" || exit
if [ "$(id -u)" = 0 ]; then chown -h --reference="$1/.." -- "$1" "$part" || exit; fi
if [ "$3" = over ]; then mv -fT -- "$part" "$2"; else ln -T -- "$part" "$2" 2>/dev/null || cmp -s -- "$part" "$2" || exit 9; fi`;

/**
 * Writes the file.
 * @param runner of the VM's host
 * @param how `new`: keep an existing file. `over`: replace it; the VM must be powered off
 * @throws CommandError, UsageError for a VM that was never deployed
 */
export async function placeNvram(
  vm: Vm,
  nvram: Uint8Array,
  runner: Runner,
  { datastoreLocation, how }: { readonly datastoreLocation: string; readonly how: 'new' | 'over' },
): Promise<NvramResult> {
  if (!vm.history || posix.basename(vm.name) !== vm.name) {
    throw new UsageError(`VM ${vm.id} has no folder for its UEFI variables`);
  }
  const folder = vmFolder(datastoreLocation, vm.history.datastoreId, vm.id);
  const { status } = await runner.run(
    { program: 'sh', args: ['-c', script, 'sh', folder, nvramFile(folder, vm.name), how] },
    {
      doing: `put the UEFI variables of VM ${vm.id} into ${folder}`,
      input: nvram,
      acceptStatus: [9],
    },
  );
  return status === 9 ? 'exists' : 'written';
}
