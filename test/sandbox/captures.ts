// The recorded calls and replies in test/fixtures/captures, and a way to send one to a sandbox byte for byte.
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

const folder = join(import.meta.dirname, '../fixtures/captures');

export interface Message {
  /** The status or request line and the headers, one a line. */
  readonly head: readonly string[];
  readonly body: string;
}

function parse(raw: string): Message {
  const end = raw.indexOf('\r\n\r\n');
  return { head: raw.slice(0, end).split('\r\n'), body: raw.slice(end + 4) };
}

/** The recording whose name begins with this number. */
export function capture(number: string): { readonly request: Message; readonly response: Message } {
  const name = readdirSync(folder).find(
    (one) => one.startsWith(`${number}-`) && one.endsWith('.req'),
  );
  if (name === undefined) throw new Error(`no recording ${number}`);
  const read = (file: string): Message => parse(readFileSync(join(folder, file), 'utf8'));
  return { request: read(name), response: read(name.replace(/req$/, 'resp')) };
}

/** The value in a recorded or received success reply: the XML of an object. */
export function replyValue(body: string): string {
  const text =
    /<boolean>1<\/boolean><\/value>\s*<value><string>(.*?)<\/string>/s.exec(body)?.[1] ?? '';
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&#x0d;', '\r')
    .replaceAll('&amp;', '&');
}

/** Sends a request as recorded, with its length corrected, and reads until the server closes. */
export function replay(endpoint: string, request: Message): Promise<Message> {
  const { hostname, port } = new URL(endpoint);
  const length = Buffer.byteLength(request.body);
  const head = request.head.map((line) => line.replace(/^(content-length): .*/i, `$1: ${length}`));
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    connect(Number(port), hostname)
      .on('data', (part: Buffer) => parts.push(part))
      .on('error', reject)
      .on('end', () => resolve(parse(Buffer.concat(parts).toString())))
      .write(`${head.join('\r\n')}\r\n\r\n${request.body}`);
  });
}
