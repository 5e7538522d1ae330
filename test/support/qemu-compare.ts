import { sh } from './shell.ts';

/** Fails unless both disks hold the same for a guest. The formats are told, unless they are by the name. */
export async function qemuCompare(
  one: string,
  other: string,
  oneFormat?: string,
  otherFormat?: string,
): Promise<void> {
  await sh(
    'qemu-img',
    'compare',
    ...(oneFormat === undefined ? [] : ['-f', oneFormat]),
    ...(otherFormat === undefined ? [] : ['-F', otherFormat]),
    one,
    other,
  );
}
