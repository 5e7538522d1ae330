// What the guest's writer left on a disk: it appends 1, 2, 3, ... to /numbers on both its disks, first on
// vda, then on vdb. Read with e2fsprogs from a copy, so a disk is never mounted or changed.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from './program.ts';

export interface Numbers {
  /** The last number; all before it are there, in order. 0 when there is none. */
  readonly last: number;
  /**
   * False when the journal had to be replayed: the disk was caught while it was mounted and not
   * frozen, as after a power cut.
   */
  readonly clean: boolean;
}

/**
 * Reads the numbers of one disk; of a running one too, which is only of use while it is frozen.
 * @param image an image file or block device, or an NBD URI with format raw
 * @throws Error when the file system is damaged or the numbers have a gap
 */
export async function readNumbers(image: string, format: 'raw' | 'qcow2'): Promise<Numbers> {
  const folder = await mkdtemp(join(tmpdir(), 'onevmdump-numbers-'));
  try {
    const copy = join(folder, 'disk');
    await runProgram('qemu-img', ['convert', '-U', '-f', format, '-O', 'raw', image, copy]);
    const header = await runProgram('dumpe2fs', ['-h', copy]);
    const clean = !/^Filesystem features:.*\bneeds_recovery\b/m.test(header);
    // A clean file system must stand the check as it is; 1: the journal was replayed.
    if (clean) await runProgram('e2fsck', ['-f', '-n', copy]);
    else await runProgram('e2fsck', ['-f', '-p', copy], { acceptStatus: [1] });
    return { last: lastNumber(await runProgram('debugfs', ['-R', 'cat /numbers', copy])), clean };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether two disks can be of one instant: vda is level with vdb, or one ahead. */
export function sameInstant(vda: Numbers, vdb: Numbers): boolean {
  return vda.last - vdb.last === 0 || vda.last - vdb.last === 1;
}

function lastNumber(text: string): number {
  // A write that a power cut caught in the middle may leave a line without its end.
  const lines = text.split('\n').slice(0, -1);
  for (const [index, line] of lines.entries()) {
    if (line !== String(index + 1)) {
      throw new Error(`the numbers have a gap: line ${index + 1} is ${JSON.stringify(line)}`);
    }
  }
  return lines.length;
}
