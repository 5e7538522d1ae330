// one.template.*: registering a VM template, making a VM of it, deleting it.
import { OpenNebulaError } from '../report/errors.ts';
import { askPool, numberIn, textIn } from './answers.ts';
import type { OneClient } from './client.ts';

/** Registers a template. @param xml `<VMTEMPLATE>` with a NAME, as `writeXml` gives it. @returns its id */
export async function allocateTemplate(client: OneClient, xml: string): Promise<number> {
  return client.id('one.template.allocate', xml);
}

/** Makes a VM of a template. @param hold leaves it on HOLD instead of PENDING. @returns the VM's id */
export async function instantiateTemplate(
  client: OneClient,
  id: number,
  { name, hold = false }: { readonly name: string; readonly hold?: boolean },
): Promise<number> {
  // The last two: no attributes added, no persistent copy.
  return client.id('one.template.instantiate', id, name, hold, '', false);
}

/** Deletes a template, not its images. One that is gone already is fine. */
export async function deleteTemplate(client: OneClient, id: number): Promise<void> {
  try {
    await client.call('one.template.delete', id, false);
  } catch (error) {
    if (error instanceof OpenNebulaError && error.code === 1024) return;
    throw error;
  }
}

export interface OwnTemplate {
  readonly id: number;
  readonly name: string;
  /** REGTIME, epoch seconds of oned's clock. */
  readonly registered: number;
}

/** The caller's own template of this name (names are unique per owner). */
export async function findOwnTemplate(
  client: OneClient,
  name: string,
): Promise<OwnTemplate | undefined> {
  const pool = await askPool(client, 'VMTEMPLATE_POOL', 'one.templatepool.info', -3);
  const found = pool.find((template) => textIn(template, 'NAME') === name);
  return found && { id: numberIn(found, 'ID'), name, registered: numberIn(found, 'REGTIME') };
}
