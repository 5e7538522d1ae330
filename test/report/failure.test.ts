// What is told of a failure, whatever was thrown.
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from '@jest/globals';
import { CommandError, FailedError, UsageError } from '../../lib/report/errors.ts';
import { failureOf, internalFailure } from '../../lib/report/failure.ts';

describe('a failure', () => {
  test('a failure is told in one line, whatever the tool has said', () => {
    const error = new FailedError('cannot read disk 0:\n  first line\r\n\n second line');
    expect(failureOf(error).message).toBe('cannot read disk 0: first line second line');
  });

  test('a failure has its code word, its exit code and its facts', () => {
    const error = new CommandError('lvs failed', {
      command: 'lvs',
      status: 5,
      stderr: 'no such VG',
    });
    expect(failureOf(error)).toEqual({
      code: 'command-failed',
      message: 'lvs failed',
      exitCode: 4,
      command: 'lvs',
      status: 5,
      stderr: 'no such VG',
    });
  });

  test('a failure because of a full disk has a code word of its own', () => {
    const cause = Object.assign(new Error('write'), { code: 'ENOSPC' });
    expect(failureOf(new FailedError('cannot write', { cause })).code).toBe('no-space');
    expect(failureOf(new FailedError('cannot write')).code).toBe('failed');
    expect(failureOf(new UsageError('no such option')).exitCode).toBe(2);
  });
});

describe('a fault of the program itself', () => {
  test('a fault of the program itself is told with its place in the code, in one line', () => {
    const failure = internalFailure(new TypeError('x is not a function\nreally'));
    expect(failure).toMatchObject({ code: 'internal-error', exitCode: 1 });
    expect(failure.message).toMatch(
      /^internal error: x is not a function really \(at .*failure\.test/,
    );
  });

  test('a fault of the program itself is told also of an error of another realm', () => {
    const foreign: unknown = runInNewContext('new Error("from elsewhere")');
    expect(foreign).not.toBeInstanceOf(Error);
    expect(internalFailure(foreign).message).toMatch(/^internal error: .*from elsewhere/);
  });

  test.each([['a text'], [undefined], [null], [17], [{ stack: 5 }], [{}]])(
    'a fault of the program itself is told when %j was thrown, which is no error',
    (thrown) => {
      const { message, code } = internalFailure(thrown);
      expect(code).toBe('internal-error');
      expect(message).toMatch(/^internal error: ./);
    },
  );
});
