// The data that oned gives to an action of a datastore driver, validated. Sources: one_datastore.rb and one_vmm_exec.rb of
// OpenNebula 6.6 to 7.4, and recorded calls of 6.10.
import { child, childText, type XmlElement } from '../xml/xml.ts';
import { parseXml } from '../xml/xml-parse.ts';
import { UsageError } from '../report/errors.ts';

const root = 'DS_DRIVER_ACTION_DATA';
const what = 'the data of the action';

/**
 * The document of an action that the image manager runs: base64 on stdin, and the request's id as argument; up to 6.6 the
 * base64 is the first argument.
 * @throws UsageError when it is not such a document
 */
export function decodeActionData(args: readonly string[], stdin: Buffer): XmlElement {
  const [first = ''] = args;
  const text = (stdin.length > 0 ? stdin.toString('latin1') : first).replaceAll(/\s+/g, '');
  const bytes = Buffer.from(text, 'base64');
  // Buffer.from skips characters that are not base64, so the text is valid only if encoding gives the same text again.
  if (text === '' || bytes.toString('base64') !== text) {
    throw new UsageError(`${what} is not base64; this program is started by OpenNebula`);
  }
  return checkRoot(bytes);
}

/** The same document in plain XML, for `ls` and `backup`. @throws UsageError when it is not such a document */
export function parseActionData(bytes: Buffer): XmlElement {
  return checkRoot(bytes);
}

function checkRoot(bytes: Buffer): XmlElement {
  const data = parseXml(bytes, what);
  if (data.name === root) return data;
  // 6.6 gives `backup` the datastore alone.
  if (data.name === 'DATASTORE') return { name: root, text: '', children: [data] };
  throw new UsageError(`${what} is <${data.name}>, expected <${root}>`);
}

/** The value at a path such as IMAGE/SOURCE; undefined when it is missing or empty. */
export function valueAt(data: XmlElement, path: string): string | undefined {
  const names = path.split('/');
  const last = names.pop() ?? '';
  let element: XmlElement | undefined = data;
  for (const name of names) element = element && child(element, name);
  return (element && childText(element, last)) || undefined;
}

/** The value at a path. @throws UsageError when it is missing or empty */
export function requiredAt(data: XmlElement, path: string): string {
  const value = valueAt(data, path);
  if (value === undefined) throw new UsageError(`${what} has no ${path}`);
  return value;
}

/** The id at a path. @throws UsageError when it is missing or not an id */
export function idAt(data: XmlElement, path: string): number {
  return asId(requiredAt(data, path), path);
}

/** An id of OpenNebula: 0, 1, 2, ... @param name for the message. @throws UsageError when it is not one */
export function asId(text: string, name: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${name} is ${JSON.stringify(text.slice(0, 40))}, expected a number`);
}

/** Whether the value at a path is YES, as oned writes it. */
export function isYesAt(data: XmlElement, path: string): boolean {
  return valueAt(data, path)?.toUpperCase() === 'YES';
}
