// Asks oned about the images of a VM that is backed up.
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { imagesOf } from '../export-vm.ts';
import type { Config } from '../config/config.ts';
import { errorMessage, OpenNebulaError, UsageError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Vm } from '../vm/vm.ts';
import { connect } from '../session/with-run.ts';

/**
 * What oned knows about the images, by DISK_ID. A restore uses it, but a backup does not need it: if oned cannot be asked, this
 * warns and returns an empty map.
 */
export async function imageFacts(
  vm: Vm,
  config: Config,
  log: Log,
): Promise<ReadonlyMap<number, ImageFacts>> {
  try {
    const one = await connect({ config, endpoint: undefined, log });
    return await imagesOf(vm, one, { log });
  } catch (error) {
    if (!(error instanceof OpenNebulaError) && !(error instanceof UsageError)) throw error;
    log.warn(`nothing is known about the images of VM ${vm.id}: ${errorMessage(error)}`);
    return new Map();
  }
}
