// The names a restore gives: free ones, looked up before any data moves.
import type { OneClient } from '../one/client.ts';
import { findOwnImage } from '../one/images.ts';
import { findOwnTemplate } from '../one/templates.ts';
import { UsageError } from '../report/errors.ts';

/** The image of a disk. */
export function imageName(base: string, diskId: number): string {
  return `${base}-disk-${diskId}`;
}

/** `backup-<vm id>-<time of the export>`, UTC: `backup-8-20261123-040512`. */
export function defaultName(vmId: number, created: Date): string {
  const digits = created.toISOString().replaceAll(/[-:]/g, '');
  return `backup-${vmId}-${digits.slice(0, 8)}-${digits.slice(9, 15)}`;
}

/**
 * A base name under which template and images are free: `wanted` as it is, or the default name,
 * numbered when the same bundle was restored before.
 * @throws UsageError when the wanted name is taken.
 */
export async function freeName(
  one: OneClient,
  wanted: string | undefined,
  fallback: string,
  diskIds: readonly number[],
): Promise<string> {
  if (wanted !== undefined) {
    const taken = await takenBy(one, wanted, diskIds);
    if (taken !== undefined) throw new UsageError(`the name ${wanted} is taken: ${taken}`);
    return wanted;
  }
  for (let number = 1; ; number++) {
    const name = number === 1 ? fallback : `${fallback}-${number}`;
    if ((await takenBy(one, name, diskIds)) === undefined) return name;
  }
}

async function takenBy(
  one: OneClient,
  base: string,
  diskIds: readonly number[],
): Promise<string | undefined> {
  const template = await findOwnTemplate(one, base);
  if (template) return `there is a template ${template.id} of this name`;
  for (const id of diskIds) {
    const image = await findOwnImage(one, imageName(base, id));
    if (image) return `there is an image ${image.id} named ${imageName(base, id)}`;
  }
  return undefined;
}
