import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { call, mustCall } from './call.ts';
import type { Spoiling } from './mischief.ts';
import { startSandbox } from './sandbox.ts';
import type { Sandbox } from './sandbox.ts';

let dir: string;
let sandbox: Sandbox;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sandbox-mischief-'));
  sandbox = await startSandbox({ dir });
});

afterEach(async () => {
  await sandbox.stop();
  await rm(dir, { recursive: true, force: true });
});

function post(signal?: AbortSignal): Promise<Response> {
  const body = '<methodCall><methodName>one.system.version</methodName></methodCall>';
  return fetch(sandbox.endpoint, { method: 'POST', body, signal: signal ?? null });
}

test('a failure that a test asks of the stand-in comes once', async () => {
  sandbox.failNext('one.system.version', 2048, 'not now');
  const failed = { ok: false, code: 2048, value: '[one.system.version] not now' };
  expect(await call(sandbox, 'one.system.version')).toEqual(failed);
  expect((await call(sandbox, 'one.system.version')).ok).toBe(true);
});

test('a delayed method of the stand-in holds up no other', async () => {
  sandbox.delay('one.system.version', 60_000);
  const late = call(sandbox, 'one.system.version').catch(() => 'cut');
  expect((await call(sandbox, 'one.userpool.info')).ok).toBe(true);
  await sandbox.stop();
  expect(await late).toBe('cut');
});

test.each<[Spoiling, number, RegExp]>([
  ['truncated', 200, /^<\?xml(?!.*<\/methodResponse>)/s],
  ['http-500', 500, /Error 500/],
  ['not-xml', 200, /^<html>/],
  ['empty', 200, /^$/],
  ['doctype', 200, /<!DOCTYPE/],
])('a %s answer of the stand-in comes once', async (how, status, body) => {
  sandbox.spoilNext('one.system.version', how);
  const spoilt = await post();
  expect([spoilt.status, await spoilt.text()]).toEqual([status, expect.stringMatching(body)]);
  expect(await mustCall(sandbox, 'one.system.version')).toBe('6.10.5');
});

test('a reset connection to the stand-in gives no answer', async () => {
  sandbox.spoilNext('one.system.version', 'reset');
  await expect(post()).rejects.toThrow('fetch failed');
});

test.each<Spoiling>(['hang', 'hang-body'])(
  "the stand-in's %s lasts until the client gives up",
  async (how) => {
    sandbox.spoilNext('one.system.version', how);
    await expect(post(AbortSignal.timeout(200)).then((answer) => answer.text())).rejects.toThrow(
      'timeout',
    );
  },
);

test('a huge answer of the stand-in can be stopped in the middle, and it goes on', async () => {
  sandbox.spoilNext('one.system.version', 'huge');
  const answer = await post();
  expect(Number(answer.headers.get('content-length'))).toBe(1024 ** 3);
  await answer.body?.cancel();
  expect(await mustCall(sandbox, 'one.system.version')).toBe('6.10.5');
});
