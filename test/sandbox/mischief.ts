// What a client must survive: refused calls, slow answers, and answers that are no XML-RPC at all.
import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from './failure.ts';
import { sendHead } from './server.ts';

/** How an answer is spoilt. `hang` never answers, `hang-body` stops in the middle of the reply. */
export type Spoiling =
  | 'truncated'
  | 'huge'
  | 'hang'
  | 'hang-body'
  | 'http-500'
  | 'not-xml'
  | 'empty'
  | 'reset'
  | 'doctype';

interface Plan {
  failures: Failure[];
  spoilings: Spoiling[];
  delayMs: number;
}

/** Bytes of a `huge` answer: more than any client should take. */
const hugeBytes = 1024 * 1024 * 1024;

export class Mischief {
  readonly #plans = new Map<string, Plan>();

  #plan(method: string): Plan {
    const plan = this.#plans.get(method) ?? { failures: [], spoilings: [], delayMs: 0 };
    this.#plans.set(method, plan);
    return plan;
  }

  failNext(method: string, code: number, text: string, objectId = -1): void {
    this.#plan(method).failures.push(new Failure(code, text, objectId));
  }

  spoilNext(method: string, how: Spoiling): void {
    this.#plan(method).spoilings.push(how);
  }

  delay(method: string, ms: number): void {
    this.#plan(method).delayMs = ms;
  }

  /** Waits as long as was asked for this method. @throws Failure that was asked for. */
  async before(method: string, ending: AbortSignal): Promise<void> {
    const plan = this.#plans.get(method);
    if (!plan) return;
    if (plan.delayMs > 0) {
      await sleep(plan.delayMs, undefined, { signal: ending }).catch(() => undefined);
    }
    const failure = plan.failures.shift();
    if (failure) throw failure;
  }

  /** How to spoil the answer to this call; undefined for an honest one. */
  spoiling(method: string): Spoiling | undefined {
    return this.#plans.get(method)?.spoilings.shift();
  }
}

async function sendHuge(response: ServerResponse, reply: string): Promise<void> {
  sendHead(response, 200, 'text/xml; charset=utf-8', hugeBytes);
  function* text(): Generator<string | Buffer> {
    yield reply.slice(0, reply.indexOf('<string>') + 8);
    const block = Buffer.alloc(1024 * 1024, 'x');
    for (let sent = 0; sent < hugeBytes; sent += block.length) yield block;
  }
  // Whoever reads it hangs up before its end.
  await pipeline(text, response).catch(() => undefined);
}

/** Sends a spoilt answer instead of `reply`. */
export async function sendSpoilt(
  response: ServerResponse,
  how: Spoiling,
  reply: string,
): Promise<void> {
  const xml = 'text/xml; charset=utf-8';
  const send = (status: number, type: string, body: string): void => {
    sendHead(response, status, type, Buffer.byteLength(body));
    response.end(body);
  };
  switch (how) {
    case 'truncated':
      send(200, xml, reply.slice(0, Math.floor(reply.length / 2)));
      break;
    case 'huge':
      await sendHuge(response, reply);
      break;
    case 'hang':
      break;
    case 'hang-body':
      sendHead(response, 200, xml, Buffer.byteLength(reply));
      response.write(reply.slice(0, 100));
      break;
    case 'http-500':
      send(500, 'text/html', '<HTML><BODY><H1>Error 500</H1></BODY></HTML>');
      break;
    case 'not-xml':
      send(200, 'text/html', '<html><p>Welcome to the proxy of <b>nobody</body>');
      break;
    case 'empty':
      send(200, xml, '');
      break;
    case 'reset':
      response.destroy();
      break;
    case 'doctype': {
      const doctype = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>\r\n<methodResponse>';
      send(200, xml, reply.replace('<methodResponse>', doctype));
    }
  }
}
