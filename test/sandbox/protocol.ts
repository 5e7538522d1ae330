// XML-RPC as oned speaks it (xmlrpc-c 1.33.14): calls in, replies out, written by hand because they
// hold an <i8>, an extension that npm's xmlrpc cannot write.
import { elements, parseXml, textOf, XmlError } from './xml-tree.ts';
import type { Element } from './xml-tree.ts';

/** A fault: HTTP 200 with <fault>. */
export class Fault extends Error {
  override readonly name = 'Fault';
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export type Param =
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'other'; readonly value: undefined };

/** The parameters of a call; a wrong or missing one is a fault with xmlrpc-c's words. */
export class Params {
  readonly list: readonly Param[];
  constructor(list: readonly Param[]) {
    this.list = list;
  }

  get size(): number {
    return this.list.length;
  }

  int(index: number): number {
    const found = this.#at(index);
    if (found.type === 'int') return found.value;
    throw new Fault(-501, 'Parameter that is supposed to be integer is not');
  }

  string(index: number): string {
    const found = this.#at(index);
    if (found.type === 'string') return found.value;
    throw new Fault(-501, 'Parameter that is supposed to be a string is not');
  }

  boolean(index: number): boolean {
    const found = this.#at(index);
    if (found.type === 'boolean') return found.value;
    throw new Fault(-501, 'Parameter that is supposed to be boolean is not');
  }

  #at(index: number): Param {
    const found = this.list[index];
    if (!found) throw new Fault(-501, 'Not enough parameters');
    return found;
  }
}

function badCall(why: string): Fault {
  return new Fault(-503, `Call XML not a proper XML-RPC call.  ${why}`);
}

function param(value: Element): Param {
  const typed = elements(value)[0];
  if (!typed) return { type: 'string', value: textOf(value) };
  const text = textOf(typed);
  switch (typed.name) {
    case 'int':
    case 'i4': {
      const number = Number(text.trim());
      if (!/^\s*[+-]?\d+\s*$/.test(text) || number !== (number | 0)) {
        throw badCall(`"${text}" is not a 32-bit integer`);
      }
      return { type: 'int', value: number };
    }
    case 'boolean':
      if (!/^[01]$/.test(text.trim())) throw badCall(`"${text}" is not a boolean`);
      return { type: 'boolean', value: text.trim() === '1' };
    case 'string':
      return { type: 'string', value: text };
    default:
      return { type: 'other', value: undefined };
  }
}

/** Parses a <methodCall>. @throws Fault -503 when it is none. */
export function parseCall(body: string): { method: string; params: Params } {
  let root: Element;
  try {
    root = parseXml(body);
  } catch (error) {
    if (!(error instanceof XmlError)) throw error;
    const token = /^unclosed token at ('.*')$/s.exec(error.message)?.[1];
    const detail = token ? `Problem with token at ${token}: unclosed token` : error.message;
    throw badCall(`Call is not valid XML.  Invalid XML "content".  ${detail}`);
  }
  if (root.name !== 'methodCall') {
    throw badCall(
      `XML-RPC call should be a <methodCall> element.  Instead, we have a <${root.name}>`,
    );
  }
  const parts = elements(root);
  const method = parts.find((one) => one.name === 'methodName');
  if (!method) throw badCall('Expected <methodName> to have child');
  const list = parts.find((one) => one.name === 'params');
  const params = (list ? elements(list) : []).map((one) => {
    const value = elements(one)[0];
    if (value?.name !== 'value') throw badCall('<param> has no <value>');
    return param(value);
  });
  return { method: textOf(method), params: new Params(params) };
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#x0d;');
}

function valueXml(value: string | number | boolean): string {
  if (typeof value === 'string') return `<value><string>${escape(value)}</string></value>\r\n`;
  if (typeof value === 'number') return `<value><i4>${value}</i4></value>\r\n`;
  return `<value><boolean>${value ? 1 : 0}</boolean></value>\r\n`;
}

function response(inner: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>\r\n${inner}</methodResponse>\r\n`;
}

function arrayResponse(values: string): string {
  return response(
    `<params>\r\n<param><value><array><data>\r\n${values}</data></array></value></param>\r\n</params>\r\n`,
  );
}

/** `[true, value, 0]`. */
export function successReply(value: string | number): string {
  return arrayResponse(valueXml(true) + valueXml(value) + valueXml(0));
}

/** `[false, text, code, object id, <i8>-1</i8>]`: five elements, since oned 5.2. */
export function errorReply(text: string, code: number, objectId: number): string {
  return arrayResponse(
    `${valueXml(false)}${valueXml(text)}${valueXml(code)}${valueXml(objectId)}<value><i8>-1</i8></value>\r\n`,
  );
}

export function faultReply(fault: Fault): string {
  return response(
    '<fault>\r\n<value><struct>\r\n' +
      `<member><name>faultCode</name>\r\n<value><i4>${fault.code}</i4></value></member>\r\n` +
      `<member><name>faultString</name>\r\n<value><string>${escape(fault.message)}</string></value></member>\r\n` +
      '</struct></value>\r\n</fault>\r\n',
  );
}
