// Finds a folder in which QEMU may make the socket of a backup job.
import { FailedError } from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import type { DomainFacts } from '../../guest/domain.ts';

/** sun_path has 108 bytes, the last of them NUL: unix(7). */
const maxSocketPath = 107;

// Looks for a rule that lets QEMU write below $1, in the files with which an administrator extends libvirt's profile:
// the abstraction itself, as OpenNebula's manual says, or those that the abstraction includes.
const ruleScript = `
cat /etc/apparmor.d/abstractions/libvirt-qemu /etc/apparmor.d/abstractions/libvirt-qemu.d/* \\
  /etc/apparmor.d/local/abstractions/libvirt-qemu 2>/dev/null |
  grep -v '^ *#' | grep -F -e "$1/" | grep -qE ' [a-z]*w[a-z]*,'`;

/**
 * Returns the folder for the socket: the VM's folder, or, if AppArmor confines QEMU, the one that libvirt made for the
 * domain.
 * @param folder the VM's folder on the system datastore
 * @throws FailedError with the rule that is missing in AppArmor's profile
 */
export async function socketPlace(
  folder: string,
  { socketFolder }: DomainFacts,
  { runner, datastoreLocation }: Run,
): Promise<string> {
  if (socketFolder === undefined) return folder;
  const isWritable = { program: 'test', args: ['-w', socketFolder] };
  const doing = `look at ${socketFolder}`;
  if ((await runner.run(isWritable, { doing, acceptStatus: [1] })).status === 0)
    return socketFolder;
  const hasRule = { program: 'sh', args: ['-c', ruleScript, 'sh', datastoreLocation] };
  const looking = 'look at the rules of AppArmor';
  const { status } = await runner.run(hasRule, { doing: looking, acceptStatus: [1] });
  if (status === 0) return folder;
  throw new FailedError(
    `AppArmor does not let QEMU make a socket in ${folder}, and this user may not write to ${socketFolder}; add this line to /etc/apparmor.d/local/abstractions/libvirt-qemu (from AppArmor 3 on: to a file in /etc/apparmor.d/abstractions/libvirt-qemu.d): ${datastoreLocation}/*/*/onevmdump-*.sock rw,`,
  );
}

/**
 * Checks that we may connect to a socket that QEMU makes: as root, as its user or as a member of its group (its mode is
 * 0775).
 * @throws FailedError otherwise
 */
export async function requireMayConnect({ owner }: DomainFacts, { runner }: Run): Promise<void> {
  // libvirt writes +<uid>:+<gid>; names would be another libvirt's, and are not looked up.
  const [, qemuUser = '', qemuGroup = ''] = /^\+(\d+):\+(\d+)$/.exec(owner ?? '') ?? [];
  if (qemuUser === '') return;
  const command = { program: 'sh', args: ['-c', 'id -u; id -G'] };
  const { stdout } = await runner.run(command, { doing: 'ask who I am' });
  const [user = '', ...groups] = stdout.toString().trim().split(/\s+/);
  if (user === '0' || user === qemuUser || groups.includes(qemuGroup)) return;
  throw new FailedError(
    `QEMU runs as the user ${qemuUser} on ${runner.where}, and lets only that user, its group ${qemuGroup} and root read its disks; this user is ${user}. Run onevmdump as one of them, on OpenNebula's hosts as oneadmin`,
  );
}

/** @throws FailedError when the path is too long for a socket */
export function requireShort(socket: string): void {
  if (Buffer.byteLength(socket) <= maxSocketPath) return;
  throw new FailedError(`the path ${socket} is too long for a socket`);
}
