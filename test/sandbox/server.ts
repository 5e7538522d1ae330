// The HTTP side: POST /RPC2 only, one reply a connection, the headers and error pages of oned's Abyss.
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

const maxBody = 64 * 1024 * 1024;
const abyss =
  '<p><HR><b><i><a href="http://xmlrpc-c.sourceforge.net">ABYSS Web Server for XML-RPC For C/C++</a></i></b> version 1.33.14<br></p></BODY></HTML>';

export function errorPage(status: number, text: string): string {
  return `<HTML><HEAD><TITLE>Error ${status}</TITLE></HEAD><BODY><H1>Error ${status}</H1><P>${text}</P>${abyss}`;
}

export function sendHead(
  response: ServerResponse,
  status: number,
  type: string,
  length?: number,
): void {
  response.sendDate = false;
  response.shouldKeepAlive = false;
  response.setHeader('Content-type', type);
  if (length === undefined) response.removeHeader('Transfer-Encoding');
  else response.setHeader('Content-length', length);
  response.setHeader('Connection', 'close');
  response.setHeader('Date', new Date().toUTCString().replace('GMT', 'UTC'));
  response.setHeader('Server', 'Xmlrpc-c_Abyss/1.33.14');
  response.writeHead(status);
}

function sendError(response: ServerResponse, status: number, text: string): void {
  sendHead(response, status, 'text/html');
  response.end(errorPage(status, text));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > maxBody) throw new Error('the call is too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

export type Answer = (body: string, response: ServerResponse) => Promise<void>;

/** A server that hands every POST to /RPC2 to `answer` and refuses the rest as oned does. */
export function makeServer(answer: Answer): Server {
  return createServer((request, response) => {
    const path = request.url ?? '';
    if (request.method !== 'POST') {
      sendError(response, 405, 'POST is the only HTTP method this server understands');
    } else if (path !== '/RPC2') {
      sendError(
        response,
        404,
        "This XML-RPC For C/C++ Abyss XML-RPC server responds to only one URI path.  I don't know what " +
          `URI path that is, but it's not the one you requested: '${path}'.  (Typically, it's '/RPC2')`,
      );
    } else {
      readBody(request)
        .then((body) => answer(body, response))
        .catch(() => response.destroy());
    }
  });
}
