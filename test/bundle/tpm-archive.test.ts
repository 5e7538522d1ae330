// The state of a vTPM: what tar makes of it, and what nobody may smuggle through it.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeTpmArchive, parseTpmArchive } from '../../lib/bundle/format/tpm-archive.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'onevmdump-tpm-'));
  mkdirSync(join(folder, 'tpm'));
  writeFileSync(join(folder, 'tpm/tpm2-00.permall'), Buffer.alloc(7000, 3));
  writeFileSync(join(folder, 'tpm/.lock'), '');
});
afterAll(() => rmSync(folder, { recursive: true }));

const tar = (...args: readonly string[]) => execFileSync('tar', ['-C', folder, ...args]);

test('the state of a vTPM that GNU tar packs is read, and what is written GNU tar unpacks', () => {
  const files = parseTpmArchive(tar('-cf', '-', 'tpm'));
  expect(files.map(({ name, bytes }) => [name, bytes.length]).sort()).toEqual([
    ['.lock', 0],
    ['tpm2-00.permall', 7000],
  ]);
  const archive = encodeTpmArchive(files);
  expect(parseTpmArchive(archive)).toEqual(files);
  writeFileSync(join(folder, 'again.tar'), archive);
  mkdirSync(join(folder, 'out'));
  execFileSync('tar', ['-C', join(folder, 'out'), '-xf', join(folder, 'again.tar')]);
  expect(readFileSync(join(folder, 'out/tpm/tpm2-00.permall'))).toEqual(Buffer.alloc(7000, 3));
});

describe('an archive is refused that holds', () => {
  const hostile: readonly (readonly [string, () => Buffer])[] = [
    [
      'a disk',
      () => (writeFileSync(join(folder, 'disk.0'), 'x'), tar('-cf', '-', 'tpm', 'disk.0')),
    ],
    [
      'a link',
      () => {
        mkdirSync(join(folder, 'l/tpm'), { recursive: true });
        symlinkSync('/etc/passwd', join(folder, 'l/tpm/a'));
        return execFileSync('tar', ['-C', join(folder, 'l'), '-cf', '-', 'tpm']);
      },
    ],
    ['a way out of the folder', () => tar('-cPf', '-', '--transform=s,^tpm,../tpm,', 'tpm')],
    ['a folder below the folder', () => tar('-cf', '-', '--transform=s,^tpm,tpm/deep,', 'tpm')],
    ['nothing', () => Buffer.alloc(10240)],
    ['no tar archive', () => Buffer.from('text '.repeat(200))],
    ['less than it says', () => tar('-cf', '-', 'tpm').subarray(0, 3000)],
  ];
  test.each(hostile)('an archive with the state of a vTPM is refused that holds %s', (_, make) => {
    expect(() => parseTpmArchive(make())).toThrow('vTPM');
  });
});
