// What the targets share: reading one input in several ways, and programs whose output is the input.
import { OnevmdumpError } from '../../lib/report/errors.ts';
import type { Command, Output, Runner } from '../../lib/run/runner.ts';

/**
 * Reads an input in each of these ways.
 * @returns what they returned, undefined for those that refused it
 * @throws the first refusal if all refuse it; any other error at once
 */
export async function inEachWay(...ways: readonly (() => unknown)[]): Promise<readonly unknown[]> {
  const values: unknown[] = [];
  let refusal: OnevmdumpError | undefined;
  let refusals = 0;
  for (const read of ways) {
    try {
      values.push(await read());
    } catch (error) {
      if (!(error instanceof OnevmdumpError)) throw error;
      refusal ??= error;
      refusals += 1;
      values.push(undefined);
    }
  }
  if (refusal && refusals === ways.length) throw refusal;
  return values;
}

/** A runner whose programs print what `answer` returns; an exit status other than 0 is an answer too. */
export function printing(answer: (command: Command) => Buffer | Output): Runner {
  const never = (): never => {
    throw new Error('nothing is started here');
  };
  return {
    where: 'this machine',
    target: undefined,
    run(command) {
      const given = answer(command);
      const output = Buffer.isBuffer(given) ? { status: 0, stdout: given, stderr: '' } : given;
      return Promise.resolve(output);
    },
    start: never,
    startPiped: never,
    forwardSocket: never,
  };
}

/** Bytes in pieces of different lengths, as a stream may bring them: the same ones for the same bytes. */
export async function* inPieces(bytes: Buffer, longest = 4096): AsyncGenerator<Buffer> {
  let turn = bytes.length;
  for (let at = 0; at < bytes.length;) {
    turn = (Math.imul(turn, 1_103_515_245) + 12_345) >>> 0;
    const length = 1 + ((turn >>> 8) % longest);
    yield await Promise.resolve(bytes.subarray(at, at + length));
    at += length;
  }
}

/** Several texts as one input, and back. */
export const joined = (...texts: readonly string[]): Buffer => Buffer.from(texts.join('\0'));
export const parted = (input: Buffer): string[] => input.toString().split('\0');
