// A server on loopback that answers as it is told: with recorded replies of oned, or with anything else.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createOneClient, type OneClient, type OneClientOptions } from '../../lib/one/client.ts';
import { limits } from '../support/limits.ts';

const fixtures = join(import.meta.dirname, '../fixtures/xmlrpc');

/** Status and body of a recorded reply. */
export interface Reply {
  readonly status: number;
  readonly body: string;
}

export function recorded(name: string): Reply {
  const text = readFileSync(join(fixtures, `${name}.resp`), 'utf8');
  const [, status, body] = /^HTTP\/1\.1 (\d+) .*?\r?\n\r?\n(.*)$/s.exec(text) ?? [];
  return { status: Number(status), body: body ?? '' };
}

export interface Replay {
  readonly endpoint: string;
  /** What was posted, oldest first. */
  readonly bodies: readonly string[];
  readonly requests: readonly IncomingMessage[];
  readonly log: readonly string[];
  readonly client: (options?: Partial<OneClientOptions>) => OneClient;
  readonly close: () => Promise<void>;
}

export type Answer = (response: ServerResponse, body: string, nth: number) => void;

/** Answers with these replies one after another, the last one again and again. */
export function answers(...replies: readonly Reply[]): Answer {
  return (response, _, nth) => {
    const reply = replies[Math.min(nth, replies.length - 1)];
    response.writeHead(reply?.status ?? 500, { Connection: 'close' }).end(reply?.body);
  };
}

export async function replay(answer: Answer): Promise<Replay> {
  const bodies: string[] = [];
  const requests: IncomingMessage[] = [];
  const log: string[] = [];
  const note = (text: string): void => {
    log.push(text);
  };
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      requests.push(request);
      const body = Buffer.concat(pieces).toString();
      bodies.push(body);
      answer(response, body, bodies.length - 1);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/RPC2`;
  return {
    endpoint,
    bodies,
    requests,
    log,
    client: (options = {}) =>
      createOneClient({
        endpoint,
        session: 'oneadmin:secret',
        timeoutMs: limits.answerMs,
        log: { debug: note, info: note, warn: note, error: note },
        ...options,
      }),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
