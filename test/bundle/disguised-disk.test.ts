// What a raw disk looks like, compared with the real file(1), which OpenNebula's datastore drivers ask.
import { afterAll, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { looksLike } from '../../lib/bundle/read/disguised-disk.ts';
import { disguiseOf, unpackedAs } from '../../lib/bundle/read/file-type.ts';
import { testFolder } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);

const fileIsInstalled = spawnSync('file', ['--version']).status === 0;
const withFile = fileIsInstalled ? test : test.skip;

/** What datastore/downloader.sh decompresses or unpacks. */
const unpacked = /application\/(x-)?gzip|application\/x-(bzip2|xz|tar)|application\/zip/;

/** The answers of the real program, in the order of the contents. */
function realTypes(contents: readonly Buffer[]): string[] {
  const paths = contents.map((content, n) => {
    const path = join(folder.path, `content-${n}`);
    writeFileSync(path, content);
    return path;
  });
  const { stdout } = spawnSync('file', ['--brief', '--mime-type', '--', ...paths], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const types = stdout.trimEnd().split('\n');
  expect(types).toHaveLength(contents.length);
  return types;
}

/** Random numbers, the same ones for the same seed. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % sides;
  };
}

function pick<T>(roll: (sides: number) => number, ...choices: readonly [T, ...T[]]): T {
  return choices[roll(choices.length)] ?? choices[0];
}

/** A first block that nearly is a tar header, or is one, written in one of many ways. */
function tarLike(roll: (sides: number) => number): Buffer {
  const block = Buffer.alloc(1024);
  const junk = roll(3) === 0 ? 256 : 1;
  for (let at = 0; at < 512; at++) block[at] = roll(junk);
  if (roll(2) === 0) block.write('etc/passwd\0', 0, 'latin1');
  if (roll(2) === 0) block.write('0000644\0', 100, 'latin1');
  if (roll(3) === 0) block.fill(0, 500, 512);
  if (roll(4) === 0) block.write(pick(roll, 'ustar\0', 'ustar  \0', 'USTAR'), 257, 'latin1');
  block[156] = pick(roll, 0, 0x30, 0x4c, 0x20, 0x09, 0xff);
  // The field is filled first, since what follows the digits in it belongs to some of the sums.
  const blank = pick(roll, ' ', '\t', '\n', '\v', '\f', '\r');
  const end = pick(roll, '\0', ' ', blank, '\0\xff', '\0\x80', '8', 'x', '');
  const lead = blank.repeat(roll(3));
  for (let round = 0; round < 3; round++) {
    let sum = 8 * 0x20;
    for (let at = 0; at < 512; at++) {
      if (at < 148 || at >= 156) sum += block[at] ?? 0;
      else if ((block[at] ?? 0) > 127) sum += 256;
    }
    const wrong = roll(4) === 0 ? roll(3) : 0;
    const digits = (sum + wrong).toString(8).padStart(roll(7), '0');
    block.fill(pick(roll, 0, 0x20), 148, 156);
    block.write(`${lead}${digits}${end}`.slice(0, 8), 148, 'latin1');
  }
  return block;
}

/** Content that begins with, or nearly with, the magic of an archive. */
function archiveLike(roll: (sides: number) => number): Buffer {
  const block = Buffer.alloc(2048);
  for (let at = 0; at < block.length; at++) block[at] = roll(pick(roll, 1, 256));
  const magics = [
    '\x1f\x8b\x08',
    '\x1f\x8b',
    'BZh9',
    'BZh',
    '\xfd7zXZ\0',
    '\xfd7zXZ',
    'PK\x03\x04',
    'PK\x05\x06',
    'PK\x07\x08PK\x03\x04',
    'PK\x07\x08',
    'PK\x01\x02',
    'PK00PK\x03\x04',
    'PK\x03\x04\x14\0\0\0\0\0',
    'MZ',
    'SZDD\x88\xf0\x27',
    'SZ \x88\xf0\x27',
    '\x52\x2a\x4d\x18\x08\0\0\0',
  ];
  const at = pick(roll, 0, 0, 0, 0, 1, 0x1e, 0x20, 257, 512);
  const magic = magics[roll(magics.length)] ?? '';
  block.write(magic, at, 'latin1');
  if (magic === 'MZ') {
    block.write(pick(roll, 'Copyright 1989-1990 PKWARE Inc.', 'PKLITE Copr.'), 0x1e, 'latin1');
  }
  // Behind a skippable frame, and behind headers that are followed by another file.
  if (roll(2) === 0) {
    block.write(magics[roll(magics.length)] ?? '', pick(roll, 14, 16, 128, 512, 1024), 'latin1');
  }
  return block;
}

describe('looksLike', () => {
  withFile.each([
    ['tar headers with any kind of checksum field', tarLike],
    ['magics of archives and what follows them', archiveLike],
  ])('never says raw where file(1) says what OpenNebula unpacks: %s', (_name, make) => {
    const roll = dice(20_261_127);
    const contents = Array.from({ length: 4000 }, () => make(roll));
    const types = realTypes(contents);
    const missed = contents.flatMap((content, n) =>
      unpacked.test(types[n] ?? '') && looksLike(content) === undefined
        ? [`${types[n] ?? ''} ${content.toString('hex', 0, 32)} at ${n}`]
        : [],
    );
    expect(missed).toEqual([]);
    // Else the test would say nothing.
    expect(types.filter((type) => unpacked.test(type)).length).toBeGreaterThan(400);
  });

  withFile('takes most content that is no archive for raw', () => {
    const roll = dice(7);
    const contents = Array.from({ length: 500 }, () =>
      Buffer.from(Array.from({ length: 2048 }, () => roll(256))),
    );
    expect(contents.filter((content) => looksLike(content) !== undefined).length).toBeLessThan(5);
  });

  test.each([
    ['white space of all kinds before its checksum', '\t\n\v\f\r', '\0'],
    ['a checksum that fills the field', '', ''],
    ['bytes with a high bit behind its checksum', '', '\0\xff\xff'],
  ])("the check of a disk's first bytes recognizes a tar header with %s", (_name, lead, end) => {
    const block = Buffer.alloc(2048);
    block.write('a', 'latin1');
    const high = end.split('\xff').length - 1;
    const sum = 'a'.charCodeAt(0) + 8 * 0x20 + 256 * high;
    const digits = sum.toString(8).padStart(8 - lead.length - end.length, '0');
    block.write(`${lead}${digits}${end}`, 148, 'latin1');
    expect(looksLike(block)).toBe('tar');
  });
});

/** A disk of one piece. */
function diskOf(content: Buffer) {
  return {
    id: 0,
    member: './backup.disk.0',
    size: content.length,
    dataBytes: content.length,
    format: 'raw' as const,
    head: () => Promise.resolve(content.subarray(0, 64 * 1024)),
    async *pieces() {
      await Promise.resolve();
      const half = content.length / 2;
      yield { offset: 0, data: content.subarray(0, half) };
      yield { offset: half, data: content.subarray(half) };
    },
  };
}

describe('file(1) itself', () => {
  withFile('is asked for what lies far behind the first blocks', async () => {
    // A header of file(1)'s own magic rules whose type is decided by a block 1 MiB further on.
    const content = Buffer.alloc(2 * 1024 * 1024);
    content.writeUInt32LE(0x184d2a50, 0);
    content.writeUInt32LE(1024 * 1024 - 8, 4);
    content.write('PK\x03\x04\x14\0\0\0\0\0', 1024 * 1024, 'latin1');
    expect(realTypes([content])[0]).toMatch(unpacked);
    const pieces = diskOf(content).pieces() as AsyncIterable<{ data: Buffer }>;
    async function* bytes() {
      for await (const { data } of pieces) yield data;
    }
    expect(await unpackedAs(bytes())).toBe('zip');
    expect(await disguiseOf(diskOf(content))).toBeDefined();
  });

  withFile('lets a disk with a boot sector be raw', async () => {
    const content = Buffer.alloc(8 * 1024 * 1024);
    content.write('eb6390', 'hex');
    content.write('55aa', 510, 'hex');
    expect(await disguiseOf(diskOf(content))).toBeUndefined();
  });

  test("file(1) that is not installed leaves the check of a disk's first bytes to the built-in rules", async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = folder.path;
    try {
      expect(await disguiseOf(diskOf(Buffer.alloc(4096)))).toBeUndefined();
      expect(await disguiseOf(diskOf(Buffer.from('PK\x07\x08'.padEnd(4096, '\0'))))).toBe('zip');
    } finally {
      process.env['PATH'] = path;
    }
  });
});
