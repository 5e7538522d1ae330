// Finds out what a block device is, and who has it in use, as the kernel of its machine knows it.
// https://docs.kernel.org/admin-guide/abi-testing.html#abi-sys-dev-block, proc(5)
import { FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';

/** In hexadecimal: stat(2), S_IFMT and S_IFBLK. */
const typeMask = 0xf000;
const blockType = 0x6000;
/** The unit of `size` in sysfs, whatever the device's own sectors are. */
const sectorBytes = 512;

export interface BlockDevice {
  /** `<major>:<minor>`, as in sysfs. */
  readonly numbers: string;
  readonly bytes: number;
}

/**
 * Returns the numbers of a device, `<major>:<minor>`. It is found by them because without udev it does not have the
 * kernel's name.
 * @param path of the device, or of a link to it
 * @param doing for the error
 * @throws CommandError when it is not there; FailedError when it is not a block device
 */
export async function deviceNumbers(runner: Runner, path: string, doing: string): Promise<string> {
  const { stdout } = await runner.run(
    { program: 'stat', args: ['-L', '--printf=%f %t %T', '--', path] },
    { doing },
  );
  const [mode = 0, major, minor] = stdout
    .toString()
    .split(' ')
    .map((word) => Number.parseInt(word, 16));
  if ((mode & typeMask) === blockType && major !== undefined && minor !== undefined) {
    return `${major}:${minor}`;
  }
  throw new FailedError(`cannot ${doing}: ${path} is not a block device on ${runner.where}`);
}

/** Looks at a device. @throws CommandError; FailedError when it is not a block device, or is empty */
export async function blockDevice(
  runner: Runner,
  path: string,
  what: string,
): Promise<BlockDevice> {
  const doing = `look at ${what}`;
  const numbers = await deviceNumbers(runner, path, doing);
  const args = ['--', `/sys/dev/block/${numbers}/size`];
  const { stdout } = await runner.run({ program: 'cat', args }, { doing });
  const bytes = Number(stdout.toString().trim()) * sectorBytes;
  if (Number.isSafeInteger(bytes) && bytes > 0) return { numbers, bytes };
  throw new FailedError(
    `cannot ${doing}: ${path} on ${runner.where} has no size: ${stdout.toString().slice(0, 40)}`,
  );
}

// A device and its partitions can be part of another device (LVM, RAID, multipath), mounted, or open. Of other users'
// programs only root sees what they have open. Each line of /proc/self/mountinfo has the numbers in the third column,
// and the folder in the fifth.
const useScript = `
command -v find >/dev/null || { echo 'find is not installed' >&2; exit 1; }
all="$1"
for part in "/sys/dev/block/$1"/*/partition; do
  [ -e "$part" ] && all="$all $(cat "\${part%/*}/dev")"
done
for one in $all; do
  for holder in "/sys/dev/block/$one"/holders/*; do
    [ -e "$holder" ] && echo "part of \${holder##*/}" && exit
  done
  while read -r _ _ number _ folder _; do
    [ "$number" = "$one" ] && echo "mounted on $folder" && exit
  done </proc/self/mountinfo
done
for one in $all; do printf '%x:%x ' "\${one%:*}" "\${one#*:}"; done |
  {
    read -r wanted
    find -L /proc/[0-9]*/fd -mindepth 1 -maxdepth 1 -type b -exec stat -L -c '%t:%T %n' -- {} + 2>/dev/null |
      while read -r number fd; do
        case " $wanted " in *" $number "*) ;; *) continue ;; esac
        pid=\${fd#/proc/}
        pid=\${pid%%/*}
        echo "open in process $pid ($(cat "/proc/$pid/comm" 2>/dev/null))" && exit
      done
  }
exit 0`;

/**
 * Says who uses a device: `mounted on /srv`, `part of dm-3`, `open in process 71 (qemu-kvm)`; undefined for nobody, as
 * far as this user may see.
 */
export async function userOfDevice(
  runner: Runner,
  { numbers }: Pick<BlockDevice, 'numbers'>,
  what: string,
): Promise<string | undefined> {
  const { stdout } = await runner.run(
    { program: 'sh', args: ['-c', useScript, 'sh', numbers] },
    { doing: `see who uses ${what}` },
  );
  return stdout.toString().split('\n')[0]?.trim() || undefined;
}
