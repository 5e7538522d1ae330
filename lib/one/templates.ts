// one.template.*: registers a VM template, makes a VM of it, deletes it.
import { child, textIn } from '../xml/xml.ts';
import { askPool, noSuchObject, numberIn } from './answers.ts';
import type { OneClient } from './client.ts';

/** The attribute that marks a template while it is being restored. It is removed when the restore is done. */
export const markOfRestore = 'ONEVMDUMP_RESTORE';

/** Registers a template. @param xml `<VMTEMPLATE>` with a NAME, as `writeXml` returns it. @returns its id */
export async function allocateTemplate(client: OneClient, xml: string): Promise<number> {
  return client.id('one.template.allocate', xml);
}

/** Replaces all attributes of a template; its name stays. @param xml `<VMTEMPLATE>` without NAME */
export async function replaceTemplate(client: OneClient, id: number, xml: string): Promise<void> {
  // 0: replace, not merge.
  await client.call('one.template.update', id, xml, 0);
}

/** Makes a VM of a template. @param hold leaves it on HOLD instead of PENDING. @returns the VM's id */
export async function instantiateTemplate(
  client: OneClient,
  id: number,
  { name, hold = false }: { readonly name: string; readonly hold?: boolean },
): Promise<number> {
  // The last two parameters: no more attributes, no persistent copy.
  return client.id('one.template.instantiate', id, name, hold, '', false);
}

/** Deletes a template, unless it is already gone, but not its images. */
export async function deleteTemplate(client: OneClient, id: number): Promise<void> {
  try {
    await client.call('one.template.delete', id, false);
  } catch (error) {
    if (noSuchObject(error)) return;
    throw error;
  }
}

/**
 * Returns the ids of a user's templates by name (names are unique per owner).
 * @param owner a user's id; default: the caller
 */
export async function templateNames(
  client: OneClient,
  owner?: number,
): Promise<ReadonlyMap<string, number>> {
  const pool = await askPool(client, 'VMTEMPLATE_POOL', 'one.templatepool.info', owner ?? -3);
  return new Map(pool.map((template) => [textIn(template, 'NAME'), numberIn(template, 'ID')]));
}

/** Finds the template that has this value of an attribute, whoever owns it: oneadmin undoes a restore for a user. */
export async function findTemplateWith(
  client: OneClient,
  attribute: string,
  value: string,
): Promise<number | undefined> {
  const pool = await askPool(client, 'VMTEMPLATE_POOL', 'one.templatepool.info', -2);
  const found = pool.find((template) => {
    const attributes = child(template, 'TEMPLATE');
    return attributes && textIn(attributes, attribute) === value;
  });
  return found && numberIn(found, 'ID');
}
