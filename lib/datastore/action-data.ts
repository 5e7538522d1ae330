// What oned hands to an action of a datastore driver, checked. Sources: one_datastore.rb and
// one_vmm_exec.rb of OpenNebula 6.6 to 7.4, and recorded calls of 6.10.
import { child, childText, type XmlElement } from '../xml/xml.ts';
import { parseXml } from '../xml/xml-parse.ts';
import { UsageError } from '../report/errors.ts';

const root = 'DS_DRIVER_ACTION_DATA';
const what = 'the data of the action';

/**
 * The document of an action that the image manager runs: base64 on stdin and the request's id as
 * argument; up to 6.6 the base64 is the first argument.
 * @throws UsageError when it is none
 */
export function decodeActionData(args: readonly string[], stdin: Buffer): XmlElement {
  const [first = ''] = args;
  const text = (stdin.length > 0 ? stdin.toString('latin1') : first).replaceAll(/\s+/g, '');
  const bytes = Buffer.from(text, 'base64');
  // Buffer.from skips what is not base64: only what encodes to the same text again was whole.
  if (text === '' || bytes.toString('base64') !== text) {
    throw new UsageError(`${what} is not base64; this program is started by OpenNebula`);
  }
  return checkRoot(bytes);
}

/** The same, plain: for `ls` and `backup`. */
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

/** @throws UsageError when there is no such value */
export function requiredAt(data: XmlElement, path: string): string {
  const value = valueAt(data, path);
  if (value === undefined) throw new UsageError(`${what} has no ${path}`);
  return value;
}

/** A number as OpenNebula counts. @throws UsageError */
export function idAt(data: XmlElement, path: string): number {
  return asId(requiredAt(data, path), path);
}

/** A number as OpenNebula counts: 0, 1, 2, ... @throws UsageError naming `name` */
export function asId(text: string, name: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${name} is ${JSON.stringify(text.slice(0, 40))}, expected a number`);
}

/** oned's way to say yes. */
export function isYesAt(data: XmlElement, path: string): boolean {
  return valueAt(data, path)?.toUpperCase() === 'YES';
}
