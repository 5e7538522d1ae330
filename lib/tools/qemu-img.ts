// qemu-img, with every format said aloud: nothing is ever probed.
import type { Runner } from '../run/runner.ts';

/** Converts the raw file `source` into the new qcow2 file `target`, holes staying holes. */
export async function wrapInQcow2(runner: Runner, source: string, target: string): Promise<void> {
  await runner.run(
    { program: 'qemu-img', args: ['convert', '-f', 'raw', '-O', 'qcow2', source, target] },
    { doing: `wrap ${source} in qcow2`, timeoutMs: 0 },
  );
}

// What a guest overwrites is nobody else's to read. Only root can give a file away.
const scratchScript = `
umask 077
qemu-img create -q -f qcow2 "$1" "$2" || exit
if [ -n "$3" ] && [ "$(id -u)" = 0 ]; then chown -- "$3" "$1"; fi`;

/**
 * Makes an empty qcow2 file for QEMU to write to.
 * @param path absolute; what is there is replaced.
 * @param size in bytes; qemu-img makes whole sectors of them, as QEMU does with the disk itself.
 * @param owner whom QEMU runs as; matters where we are root.
 */
export async function createScratch(
  runner: Runner,
  path: string,
  size: number,
  owner: string | undefined,
): Promise<void> {
  await runner.run(
    { program: 'sh', args: ['-c', scratchScript, 'sh', path, String(size), owner ?? ''] },
    { doing: `make the scratch file ${path}` },
  );
}
