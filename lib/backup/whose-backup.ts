// Whether a backup that oned is making goes to a datastore of ours: the VM's XML names the datastore, and oned knows
// its driver.
import { childText } from '../xml/xml.ts';
import { decodeVmInput } from '../xml/stdin.ts';
import { parseVm } from '../vm/vm-xml.ts';
import type { Config } from '../config/config.ts';
import { getDatastore } from '../one/datastores.ts';
import { errorMessage, OnevmdumpError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { connect } from '../session/with-run.ts';

/** DS_MAD of our backup datastores: the name of the driver's folder. */
const ourDriver = 'onevmdump';

/**
 * @param stdin what the action got: the VM's XML
 * @returns undefined, with a warning, when that cannot be found out. Then OpenNebula's own action is right: it serves
 *   every datastore, ours too.
 */
export async function isOurBackup(
  stdin: Buffer,
  loadConfig: () => Promise<Config>,
  log: Log,
): Promise<boolean | undefined> {
  try {
    const { backupConfig } = parseVm(decodeVmInput(stdin));
    // Of the backup that is being made: oned sets it before it runs the actions.
    const id = backupConfig && childText(backupConfig, 'LAST_DATASTORE_ID');
    if (id === undefined || !/^\d{1,9}$/.test(id)) return false;
    const one = await connect({ config: await loadConfig(), endpoint: undefined, log });
    return (await getDatastore(one, Number(id))).dsMad === ourDriver;
  } catch (error) {
    if (!(error instanceof OnevmdumpError)) throw error;
    log.warn(`cannot find out which driver the backup datastore has: ${errorMessage(error)}`);
    return undefined;
  }
}
