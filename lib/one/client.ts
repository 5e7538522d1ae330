// Calls oned over XML-RPC: one HTTP POST per call, each on a new connection (oned closes them), with limits on
// time and size. Neither the session nor a call's texts are ever logged.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { errorMessage, hasCode, OpenNebulaError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { lookupHost } from '../run/host-addresses.ts';
import { readReply, writeCall, type RpcValue } from './messages.ts';

/** Enough for a pool of ten thousand VMs or images; and pools are read in pages. */
const defaultMaxReplyBytes = 64 * 1024 * 1024;

/** Matches methods that only read: one.vm.info, one.vmpool.infoextended, one.system.version and so on. */
const onlyReads = /\.(?:info|infoextended|infoset|version|config)$/;

/**
 * How long one address of a host has to answer before the next is also tried. Node's 250 ms are too short for a slow
 * network.
 */
const attemptMs = 3000;

export interface OneClientOptions {
  /** For example `http://localhost:2633/RPC2`, as `findEndpoint` returns it. */
  readonly endpoint: string;
  /** `user:password`. */
  readonly session: string;
  /** Time limit of one call, in milliseconds. */
  readonly timeoutMs: number;
  readonly log: Log;
  /**
   * Ends running calls that only read, and makes new ones reject, with the signal's reason. A call that may change
   * something is waited for, because its result must be known to be undone.
   */
  readonly signal?: AbortSignal;
  readonly maxReplyBytes?: number;
}

export interface OneClient {
  readonly endpoint: string;
  /**
   * Calls a method; the session is added before `args`.
   * @throws OpenNebulaError with oned's own words and code when oned refused; without a code when oned could not be
   *   reached or its answer is not valid
   */
  call(method: string, ...args: readonly RpcValue[]): Promise<RpcValue>;
  /** Calls a method whose answer is a text, such as XML. */
  text(method: string, ...args: readonly RpcValue[]): Promise<string>;
  /** Calls a method whose answer is an id. */
  id(method: string, ...args: readonly RpcValue[]): Promise<number>;
}

export function createOneClient(options: OneClientOptions): OneClient {
  const { endpoint, session, log } = options;
  const call = async (method: string, args: readonly RpcValue[]): Promise<RpcValue> => {
    log.debug(`call ${method}(${args.map(loggable).join(', ')}) at ${endpoint}`);
    const body = Buffer.from(writeCall(method, [session, ...args]));
    return readReply(await post(body, method, options), method);
  };
  return {
    endpoint,
    call: (method, ...args) => call(method, args),
    async text(method, ...args) {
      const value = await call(method, args);
      if (typeof value === 'string') return value;
      throw new OpenNebulaError(`the reply to ${method} is not the text it should be`);
    },
    async id(method, ...args) {
      const value = await call(method, args);
      if (typeof value === 'number' && value >= 0) return value;
      throw new OpenNebulaError(`the reply to ${method} is not the id it should be`);
    },
  };
}

/** Texts are not logged, because templates contain passwords. */
function loggable(value: RpcValue): string {
  return typeof value === 'string' ? `<${value.length} characters>` : String(value);
}

async function post(body: Buffer, method: string, options: OneClientOptions): Promise<Buffer> {
  const { endpoint, timeoutMs, signal, log } = options;
  signal?.throwIfAborted();
  const limit = AbortSignal.timeout(timeoutMs);
  const doing = `cannot call ${method} at ${endpoint}`;
  const waits = (): void =>
    log.info(`waiting for the answer to ${method}: what it makes must be known to be undone`);
  const reads = onlyReads.test(method);
  if (!reads) signal?.addEventListener('abort', waits, { once: true });
  try {
    const response = await send(
      body,
      new URL(endpoint),
      signal && reads ? AbortSignal.any([signal, limit]) : limit,
    );
    if (response.statusCode !== 200) {
      response.destroy();
      throw new OpenNebulaError(`${doing}: ${statusText(response.statusCode)}`);
    }
    return await collect(response, options.maxReplyBytes ?? defaultMaxReplyBytes);
  } catch (error) {
    if (error instanceof OpenNebulaError) throw error;
    signal?.throwIfAborted();
    const why = limit.aborted ? `no answer within ${timeoutMs / 1000} s` : networkReason(error);
    throw new OpenNebulaError(`${doing}: ${why}`, { code: 'opennebula-unreachable', cause: error });
  } finally {
    signal?.removeEventListener('abort', waits);
  }
}

function send(body: Buffer, url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  const options = {
    method: 'POST',
    headers: {
      'Content-Type': 'text/xml; charset=utf-8',
      'Content-Length': body.length,
      Connection: 'close',
    },
    agent: false as const,
    signal,
    lookup: lookupHost,
    // These options reach the socket, which then tries all addresses of the host.
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: attemptMs,
  };
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options);
    request.on('response', resolve);
    request.on('error', reject);
    request.end(body);
  });
}

async function collect(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length > maxBytes) throw new Error(`the reply has more than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function statusText(status: number | undefined): string {
  const what = `HTTP status ${status ?? 'unknown'}`;
  return status === 404 || status === 405
    ? `${what}; this is not the address of OpenNebula's XML-RPC, which usually ends in :2633/RPC2`
    : what;
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused; is oned running there?',
  ENOTFOUND: 'there is no host of this name',
  EAI_AGAIN: 'the name of the host cannot be looked up now',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ETIMEDOUT: 'the host does not answer',
  ECONNRESET: 'the connection was closed before the reply was complete',
  EPIPE: 'the connection was closed before the call was sent',
};

/** Node's own message is empty when several addresses of a host were tried. */
function networkReason(error: unknown): string {
  const known = Object.entries(reasons).find(([code]) => hasCode(error, code));
  return known?.[1] ?? (errorMessage(error) || 'the connection failed');
}
