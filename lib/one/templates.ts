// one.template.*: registering a VM template, making a VM of it, deleting it.
import { child, textIn } from '../xml/xml.ts';
import { askPool, noSuchObject, numberIn } from './answers.ts';
import type { OneClient } from './client.ts';

/** The attribute by which a template is found that is being made. It is gone when the restore is done. */
export const markOfRestore = 'ONEVMDUMP_RESTORE';

/** Registers a template. @param xml `<VMTEMPLATE>` with a NAME, as `writeXml` gives it. @returns its id */
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
  // The last two: no attributes added, no persistent copy.
  return client.id('one.template.instantiate', id, name, hold, '', false);
}

/** Deletes a template, not its images. One that is gone already is fine. */
export async function deleteTemplate(client: OneClient, id: number): Promise<void> {
  try {
    await client.call('one.template.delete', id, false);
  } catch (error) {
    if (noSuchObject(error)) return;
    throw error;
  }
}

/** Ids of a user's templates by name (names are unique per owner). @param owner a user's id; default: the caller */
export async function templateNames(
  client: OneClient,
  owner?: number,
): Promise<ReadonlyMap<string, number>> {
  const pool = await askPool(client, 'VMTEMPLATE_POOL', 'one.templatepool.info', owner ?? -3);
  return new Map(pool.map((template) => [textIn(template, 'NAME'), numberIn(template, 'ID')]));
}

/** The id of the template that has this value of an attribute, whoever owns it: a restore for a user is undone by oneadmin. */
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
