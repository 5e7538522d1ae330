// Whether this machine is OpenNebula's front-end, where oned and its drivers run. OpenNebula's packages install oned's
// configuration there and nowhere else.
import { join } from 'node:path';
import type { Runner } from '../run/runner.ts';

/** The path of oned's configuration, as OpenNebula's own start script finds it (share/scripts/one, 6.4 to 7.4). */
export function onedConfiguration(): string {
  const location = process.env['ONE_LOCATION'];
  return location ? join(location, 'etc/oned.conf') : '/etc/one/oned.conf';
}

/**
 * Whether this machine is a front-end. False if this user may not look into the folder of the configuration: only root
 * and oneadmin may.
 * @param here for this machine
 * @throws CommandError
 */
export async function isFrontEnd(here: Runner): Promise<boolean> {
  const path = onedConfiguration();
  const command = { program: 'test', args: ['-f', path] };
  const { status } = await here.run(command, { doing: `look for ${path}`, acceptStatus: [1] });
  return status === 0;
}
