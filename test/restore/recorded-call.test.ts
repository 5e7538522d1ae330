// When the way back of a call to OpenNebula is no longer needed.
import { describe, expect, test } from '@jest/globals';
import { OpenNebulaError } from '../../lib/report/errors.ts';
import { recordedCall } from '../../lib/restore/recorded-call.ts';

/** Makes the call. @returns what came of it, and whether its entry in the journal was declared done */
async function made(call: () => Promise<number>) {
  let isDone = false;
  const entry = {
    done: () => {
      isDone = true;
      return Promise.resolve();
    },
  };
  const result = await recordedCall(entry, call).catch((error: unknown) => error);
  return { result, isDone };
}

describe('a call by which OpenNebula makes something', () => {
  test('a call that OpenNebula has carried out keeps its way back in the journal', async () => {
    expect(await made(() => Promise.resolve(7))).toEqual({ result: 7, isDone: false });
  });

  test('a call that OpenNebula has refused needs no way back, as nothing was made', async () => {
    const refusal = new OpenNebulaError('NAME is already taken', { oneCode: 8192 });
    expect(await made(() => Promise.reject(refusal))).toEqual({ result: refusal, isDone: true });
  });

  test.each([
    ['the connection broke', new OpenNebulaError('connection reset')],
    ['the program has a fault', new TypeError('x is undefined')],
  ])(
    'a call of which nobody knows whether it was carried out, as %s, keeps its way back',
    async (_, error) => {
      expect(await made(() => Promise.reject(error))).toEqual({ result: error, isDone: false });
    },
  );
});
