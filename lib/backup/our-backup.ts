// Finds out whether a backup that oned is making goes to our datastore: the VM's XML names the datastore, and oned is asked
// for its driver.
import { childText } from '../xml/xml.ts';
import { decodeVmInput } from '../xml/stdin.ts';
import { parseVm } from '../vm/vm-xml.ts';
import type { Config } from '../config/config.ts';
import { getDatastore } from '../one/datastores.ts';
import { errorMessage, OnevmdumpError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { connect } from '../session/with-run.ts';

/** DS_MAD of our backup datastores, which is the name of the driver's folder. */
const ourDriver = 'onevmdump';

/**
 * Whether the backup goes to our datastore.
 * @param stdin the action's stdin: the VM's XML
 * @returns undefined, with a warning, when it cannot be found out. The caller then runs OpenNebula's own action, which works
 *   for every datastore, also ours.
 */
export async function isOurBackup(
  stdin: Buffer,
  loadConfig: () => Promise<Config>,
  log: Log,
): Promise<boolean | undefined> {
  try {
    const { backupConfig } = parseVm(decodeVmInput(stdin));
    // The datastore of the current backup: oned sets it before it runs the actions.
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
