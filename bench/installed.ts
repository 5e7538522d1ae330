// Programs that a side needs, from Debian's packages.
import { runToEnd } from '../test/support/shell.ts';

/**
 * Whether a program is there. If it is not, its Debian package is installed, which needs root.
 * Says so in a line when it cannot be installed.
 */
export async function installed(program: string, debianPackage: string): Promise<boolean> {
  if (await isThere(program)) return true;
  process.stderr.write(`${program} is missing: installing Debian's package ${debianPackage}\n`);
  const install = `apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends ${debianPackage}`;
  const { code, stderr } = await runToEnd('bash', ['-c', install]);
  if (code === 0 && (await isThere(program))) return true;
  console.log(
    `${program} is left out: it cannot be installed (${stderr.trim().split('\n').at(-1) ?? ''})`,
  );
  return false;
}

async function isThere(program: string): Promise<boolean> {
  return (await runToEnd('bash', ['-c', `command -v ${program}`])).code === 0;
}
