// Which transfer driver of OpenNebula made a disk.
import { isVolatile, type Disk, type Vm } from './vm.ts';

/**
 * The TM_MAD of a disk. For a volatile disk the system datastore decides, for every other disk its own TM_MAD, if it
 * has one (TransferManager.cc, prolog_transfer_command, 6.4 to 7.4). Undefined when the VM does not say.
 */
export function tmMadOf(vm: Vm, disk: Disk): string | undefined {
  const system = known(vm.tmMadSystem) ?? known(vm.history?.tmMad);
  return isVolatile(disk) ? system : (known(disk.tmMad) ?? system);
}

/** An empty element is treated as missing. */
function known(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
