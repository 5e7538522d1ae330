// Writes calls and reads replies of XML-RPC as text. The only user of the npm package xmlrpc, of which it uses only the
// serializer and deserializer: the package's HTTP client has no limits on time and on a reply's size, treats any status
// but 404 as an answer, and never returns when a connection breaks within a reply.
import { PassThrough } from 'node:stream';
import CustomType from 'xmlrpc/lib/customtype.js';
import Deserializer from 'xmlrpc/lib/deserializer.js';
import Serializer from 'xmlrpc/lib/serializer.js';
import { notXmlCharacter } from '../xml/xml-scan.ts';
import { OpenNebulaError, UsageError } from '../report/errors.ts';

/** Parameters and results of oned's methods. Numbers are 32-bit integers. */
export type RpcValue = string | number | boolean;

// The package writes a string with `<` or `&` as CDATA, and breaks it if it contains "]]>" twice. A custom type is
// written as text with references, which can represent every character, even `\r`.
class RpcString extends CustomType {
  override tagName = 'string';
}

/** Writes the document of a call. @throws UsageError when a value has a character that XML cannot represent */
export function writeCall(method: string, params: readonly RpcValue[]): string {
  return Serializer.serializeMethodCall(
    method,
    params.map((param, index) => {
      if (typeof param === 'string') return writable(param, method, index);
      if (typeof param === 'number' && param !== (param | 0)) {
        throw new UsageError(`cannot call ${method}: ${param} is not a 32-bit integer`);
      }
      return param;
    }),
  );
}

function writable(text: string, method: string, index: number): unknown {
  const illegal = notXmlCharacter.exec(text);
  if (illegal) {
    const code = (illegal[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    throw new UsageError(
      `cannot call ${method}: argument ${index} holds the character U+${code}, which XML cannot carry`,
    );
  }
  // The package's text nodes cannot be empty.
  return text === '' ? '' : new RpcString(text);
}

/**
 * Returns the value in oned's reply: `[true, value, code]`. A failure is `[false, text, code, object id, -1]`; a
 * fault of the XML-RPC layer is a `<fault>` with a negative code.
 * @throws OpenNebulaError with oned's own text and code, or when the reply does not have this form
 */
export async function readReply(body: Buffer, method: string): Promise<RpcValue> {
  const reply = await deserialize(body, method);
  const [success, value, code] = Array.isArray(reply) ? (reply as unknown[]) : [];
  if (success === true && isRpcValue(value)) return value;
  if (success === false && typeof value === 'string' && typeof code === 'number') {
    // Every text of a failure begins with the method's name in brackets.
    const text = value.replace(/^\[[\w.]*\]\s*/, '').trim();
    throw new OpenNebulaError(`OpenNebula refused ${method}: ${text || `error ${code}`}`, {
      oneCode: code,
    });
  }
  throw new OpenNebulaError(`the reply to ${method} is not one of OpenNebula`);
}

function isRpcValue(value: unknown): value is RpcValue {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

function deserialize(body: Buffer, method: string): Promise<unknown> {
  const text = decode(body, method);
  // The deserializer accepts anything around the elements, such as a document type.
  if (!/^(?:<\?xml[^<>]*\?>)?\s*<methodResponse>/.test(text)) {
    const start = JSON.stringify(text.slice(0, 60));
    throw new OpenNebulaError(`the reply to ${method} is not XML-RPC: it begins with ${start}`);
  }
  return new Promise((resolve, reject) => {
    const stream = new PassThrough();
    new Deserializer().deserializeMethodResponse(stream, (error, value) => {
      if (!error) {
        resolve(value);
        return;
      }
      const code = typeof error.faultCode === 'number' ? error.faultCode : undefined;
      const what =
        code === undefined
          ? `the reply to ${method} is not XML-RPC`
          : `OpenNebula could not take the call ${method} (fault ${code})`;
      reject(new OpenNebulaError(`${what}: ${error.message}`, { oneCode: code, cause: error }));
    });
    stream.end(text);
  });
}

/** Decodes strictly: a replaced character would come back changed from a restore. */
function decode(body: Buffer, method: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (error) {
    throw new OpenNebulaError(`the reply to ${method} is not UTF-8`, { cause: error });
  }
}
