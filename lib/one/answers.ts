// Reads oned's XML answers. We trust oned more than user input, but not blindly: every field that is used is
// checked.
import { textIn, type XmlElement } from '../xml/xml.ts';
import { parseXml } from '../xml/xml-parse.ts';
import { errorMessage, OpenNebulaError } from '../report/errors.ts';
import type { OneClient } from './client.ts';
import type { RpcValue } from './messages.ts';

/**
 * Objects per page. A template may have a MiB, because of UEFI variables and the state of a vTPM. A page of them must
 * fit into `maxBytes`.
 */
const pageSize = 40;
/** Enough for a page of large VMs. */
const maxElements = 2_000_000;
/** As many as the client accepts. */
const maxBytes = 64 * 1024 * 1024;

/** Calls an info method. @throws OpenNebulaError when the answer is not XML with this root element */
export async function askXml(
  client: OneClient,
  rootName: string,
  method: string,
  ...args: readonly RpcValue[]
): Promise<XmlElement> {
  const text = await client.text(method, ...args);
  let root: XmlElement;
  try {
    root = parseXml(Buffer.from(text), `the answer to ${method}`, { maxElements, maxBytes });
  } catch (error) {
    throw new OpenNebulaError(errorMessage(error), { cause: error });
  }
  if (root.name === rootName) return root;
  throw new OpenNebulaError(`the answer to ${method} is <${root.name}>, expected <${rootName}>`);
}

/**
 * Returns the objects of a pool, read page by page (oned's parameters `start` and `-size`).
 * @param filter -3: the caller's own; -2: all that the caller may use; 0 or more: those of this user
 * @param more the method's parameters after the page
 */
export async function askPool(
  client: OneClient,
  rootName: string,
  method: string,
  filter: number,
  ...more: readonly RpcValue[]
): Promise<readonly XmlElement[]> {
  const found = new Map<number, XmlElement>();
  for (let start = 0; ; start += pageSize) {
    const page = await askXml(client, rootName, method, filter, start, -pageSize, ...more);
    const before = found.size;
    for (const element of page.children) found.set(numberIn(element, 'ID'), element);
    // A second condition, because a server that ignores paging returns the same objects again.
    if (page.children.length < pageSize || found.size === before) return [...found.values()];
  }
}

/** A whole number from 0. @throws OpenNebulaError */
export function numberIn(element: XmlElement, name: string): number {
  const text = textIn(element, name);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new OpenNebulaError(
    `OpenNebula's answer <${element.name}> has no usable ${name}: ${JSON.stringify(text.slice(0, 40))}`,
  );
}

/** Whether oned refused the call. After any other error it is unknown whether oned executed the call. */
export function isRefusal(error: unknown): error is OpenNebulaError & { readonly oneCode: number } {
  return error instanceof OpenNebulaError && error.oneCode !== undefined;
}

/** Whether oned answered that the object does not exist. */
export function noSuchObject(
  error: unknown,
): error is OpenNebulaError & { readonly oneCode: number } {
  return isRefusal(error) && error.oneCode === 1024;
}
