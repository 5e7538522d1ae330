// The kernel's count of what was written to a device, with a fake stat and cat: their exact words, and what is read from the answer.
import { expect, test } from '@jest/globals';
import { writesTo } from '../../lib/tools/block-writes.ts';
import { withFakes } from './fake-on-path.ts';

// As Linux 6.1 prints it, with as many blanks.
const line =
  '    4893       12   264520     3126     9011     7772   302984    34110        0     8436    37236       31        0   917504        4      120      119';

test('the writes to a device are asked of the kernel by its numbers, which stat gives in hexadecimal', () =>
  withFakes({ stat: 'printf "61b0 fd 1a"', cat: `echo '${line}'` }, async (fakes) => {
    expect(await writesTo(fakes.runner, '/dev/vg/a b')).toBe('9011 302984 31 917504');
    expect(await fakes.calls()).toEqual([
      ['stat', '-L', '--printf=%f %t %T', '--', '/dev/vg/a b'],
      ['cat', '--', '/sys/dev/block/253:26/stat'],
    ]);
  }));

test('a kernel without discards, before 4.18, has only writes', () =>
  withFakes(
    { stat: 'printf "61b0 8 0"', cat: "echo '1 2 3 4 50 6 70 8 9 10 11'" },
    async (fakes) => {
      expect(await writesTo(fakes.runner, '/dev/sda')).toBe('50 70');
    },
  ));

test('a kernel that has no such file does not say what was written', () =>
  withFakes({ stat: 'printf "61b0 8 0"', cat: 'exit 1' }, async (fakes) => {
    expect(await writesTo(fakes.runner, '/dev/sda')).toBe('');
  }));

test('a device that is not there is an error that names it', () =>
  withFakes({}, async (fakes) => {
    await expect(writesTo(fakes.runner, '/dev/no such')).rejects.toThrow(
      /^cannot see what has been written to \/dev\/no such: stat: .*No such file/,
    );
  }));
