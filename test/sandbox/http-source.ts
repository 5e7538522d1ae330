// Reading an image from http(s) the way downloader.sh does with curl: several GETs that are closed
// early, HEAD for the length, at last the whole.
import { createWriteStream } from 'node:fs';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';

export function isUrl(path: string): boolean {
  return /^https?:\/\//.test(path);
}

function open(url: string, method: 'GET' | 'HEAD', signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const make = url.startsWith('https:') ? httpsRequest : httpRequest;
    // curl gets -k from the driver: certificates are not checked.
    const options = { method, signal, agent: false, rejectUnauthorized: false };
    const request = make(url, options, (response) => {
      if (response.statusCode === 200) {
        resolve(response);
      } else {
        response.destroy();
        reject(new Error(`The requested URL returned error: ${response.statusCode ?? '?'}`));
      }
    });
    request.once('error', reject).end();
  });
}

/** The first bytes; the connection is dropped in the middle of the answer. */
export async function fetchHead(url: string, bytes: number, signal: AbortSignal): Promise<Buffer> {
  const response = await open(url, 'GET', signal);
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part);
    length += part.length;
    if (length >= bytes) break;
  }
  response.destroy();
  return Buffer.concat(parts).subarray(0, bytes);
}

/** Content-Length; undefined when the server gives none. */
export async function fetchLength(url: string, signal: AbortSignal): Promise<number | undefined> {
  const response = await open(url, 'HEAD', signal);
  response.resume();
  const length = response.headers['content-length'];
  return length === undefined ? undefined : Number(length);
}

/** The whole into a file. */
export async function download(url: string, target: string, signal: AbortSignal): Promise<void> {
  const response = await open(url, 'GET', signal);
  await pipeline(response, createWriteStream(target), { signal });
}
