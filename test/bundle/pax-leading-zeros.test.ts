// Numbers of PAX headers with leading zeros, which GNU tar and bsdtar read.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { archive, tarMember, vmXmlMember, withBundle } from '../support/read-bundle.ts';
import { noise, testFolder, tool } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);

const data = noise(1500);
/** A record whose length, which counts itself, is written with so many digits. */
const record = (digits: number, text: string) =>
  `${String(digits + text.length + 2).padStart(digits, '0')} ${text}\n`;
const pax = (body: string) =>
  tarMember({ path: 'PaxHeaders/x', type: 'x', data: Buffer.from(body) });
const map = Buffer.concat([Buffer.from('0001\n000512\n0001500\n')], 512);

describe('a number with leading zeros is read as GNU tar and bsdtar do:', () => {
  test.each([
    ['a size', pax(record(7, 'size=00000001500')), data],
    ['the length of a record', pax(record(9, 'size=0001500')), data],
    [
      'a sparse map',
      pax(
        record(2, 'GNU.sparse.major=1') +
          record(2, 'GNU.sparse.minor=0') +
          record(4, 'GNU.sparse.realsize=000000002012') +
          record(4, 'GNU.sparse.name=./backup.disk.0'),
      ),
      Buffer.concat([map, data]),
    ],
  ])(
    'a number with leading zeros is read as GNU tar and bsdtar do: %s',
    async (_name, header, stored) => {
      const path = join(folder.path, 'b.tar');
      const member = tarMember({ path: './backup.disk.0', data: stored });
      writeFileSync(path, archive(vmXmlMember, header, member));
      const pieces: Buffer[] = [];
      await withBundle(path, async ({ disks }) => {
        for await (const piece of disks[0]!.pieces()) pieces.push(Buffer.from(piece.data));
      });
      expect(Buffer.concat(pieces).equals(data)).toBe(true);
      for (const tar of ['tar', 'bsdtar']) {
        tool(tar, '-C', folder.path, '-xf', path);
        tool('sh', '-c', `tail -c 1500 ${folder.path}/backup.disk.0 > ${folder.path}/${tar}`);
        writeFileSync(join(folder.path, 'data'), data);
        tool('cmp', join(folder.path, tar), join(folder.path, 'data'));
      }
    },
  );
});
