// What people have in place of a bundle is named, with what to do.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import { archive, memorySource, tarMember, vmXmlMember } from '../support/read-bundle.ts';
import { noLog, noise } from '../support/write-bundle.ts';

const folder = mkdtempSync(join(tmpdir(), 'onevmdump-formats-'));
const tar = join(folder, 'bundle.tar');
beforeAll(() => {
  const disk = tarMember({ path: './backup.disk.0', data: noise(5000) });
  writeFileSync(tar, archive(vmXmlMember, disk));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function refusal(bytes: Buffer): Promise<string> {
  return openBundle(memorySource(bytes, 'b').source, { log: noLog }).then(
    () => 'it was read',
    (error: unknown) => (error as Error).message,
  );
}

function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`]);
    return true;
  } catch {
    return false;
  }
}

describe('a bundle that was packed by', () => {
  const packers = [
    ['xz', 'xz -c'],
    ['lzma', 'xz -c --format=lzma'],
    ['bzip2', 'bzip2 -c'],
    ['lz4', 'lz4 -c'],
    ['lz4', 'lz4 -l -c'],
    ['lzip', 'lzip -c'],
    ['lzop', 'lzop -c'],
  ] as const;
  test.each(packers.filter(([, command]) => has(command.split(' ')[0] ?? '')))(
    'a bundle that was packed by %s (%s) is unpacked by the command that the message names',
    async (name, command) => {
      const packed = execFileSync('sh', ['-c', `${command} < ${tar}`]);
      const message = await refusal(packed);
      expect(message).toContain(`it is not an onevmdump bundle: it is compressed by ${name}; `);
      const [, advised = ''] = /: ([^:]*) <FILE >BUNDLE\.tar$/.exec(message) ?? [];
      expect(execFileSync('sh', ['-c', advised], { input: packed })).toEqual(readFileSync(tar));
    },
  );
});

describe('a file is named that is', () => {
  test.each([
    ['empty', Buffer.alloc(0), 'it is empty'],
    ['a zip archive', Buffer.from('PK\x03\x04'), 'it is a zip archive; unpack it, and pack vm.xml'],
    ['a 7z archive', Buffer.from('377abcaf271c', 'hex'), 'it is a 7z archive; unpack it'],
    ['encrypted by age', Buffer.from('age-encryption.org/v1\n-> '), 'it is encrypted by age; decrypt'],
    ['a qcow2 image', Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), 'it is a qcow2 image; it is the image of one disk'],
  ])('a file that is no bundle is named as %s', async (_name, head, words) => {
    const bytes = head.length === 0 ? head : Buffer.concat([head, noise(2000)]);
    expect(await refusal(bytes)).toContain(`it is not an onevmdump bundle: ${words}`);
  }); // prettier-ignore
});
