// A bare XML-RPC client for the sandbox's own tests, so that they do not depend on the tool's client.
import { readFile } from 'node:fs/promises';
import { elements, parseXml, textOf } from './xml-tree.ts';
import type { Element } from './xml-tree.ts';

type Argument = string | number | boolean;

export interface Reply {
  readonly ok: boolean;
  /** The value, or oned's error text. */
  readonly value: string;
  /** 0, or oned's error code. */
  readonly code: number;
}

function argumentXml(value: Argument): string {
  const escaped = String(value)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;');
  if (typeof value === 'number') return `<i4>${value}</i4>`;
  return typeof value === 'boolean'
    ? `<boolean>${value ? 1 : 0}</boolean>`
    : `<string>${escaped}</string>`;
}

function leaves(element: Element): Element[] {
  const inner = elements(element);
  return inner.length === 0 ? [element] : inner.flatMap(leaves);
}

/** Calls a method as the user of an auth file. */
export async function call(
  { endpoint, authFile }: { readonly endpoint: string; readonly authFile: string },
  method: string,
  ...args: readonly Argument[]
): Promise<Reply> {
  const session = (await readFile(authFile, 'utf8')).trim();
  const params = [session, ...args].map(
    (one) => `<param><value>${argumentXml(one)}</value></param>`,
  );
  const body = `<methodCall><methodName>${method}</methodName><params>${params.join('')}</params></methodCall>`;
  const response = await fetch(endpoint, { method: 'POST', body });
  const [ok, value, code] = leaves(parseXml(await response.text())).map(textOf);
  return { ok: ok === '1', value: value ?? '', code: Number(code) };
}

/** The same, for calls that must succeed. @throws Error with oned's text when it does not. */
export async function mustCall(...args: Parameters<typeof call>): Promise<string> {
  const { ok, value } = await call(...args);
  if (!ok) throw new Error(value);
  return value;
}
