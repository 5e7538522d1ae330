import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import {
  archive,
  endOfArchive,
  memorySource,
  paxMember,
  tarMember,
  vmXmlMember,
  type RawMember,
} from '../support/read-bundle.ts';
import { noLog, noise } from '../support/write-bundle.ts';

const MiB = 1024 * 1024;
const disk = (more: Partial<RawMember> = {}) => tarMember({ path: './backup.disk.0', ...more });
const block = (text: string) =>
  Buffer.concat([Buffer.from(text)], Math.ceil(text.length / 512) * 512);

/** Opens it and reads every disk. */
async function readAll(bytes: Buffer): Promise<number> {
  const { source } = memorySource(bytes, 'b');
  const { disks } = await openBundle(source, { log: noLog });
  let total = 0;
  for (const one of disks) for await (const { data } of one.pieces()) total += data.length;
  return total;
}

describe('the sound archive these tests change', () => {
  test('the archive that the tests of refusals change is read before it is changed', async () => {
    await expect(readAll(archive(vmXmlMember, disk({ data: noise(1000) })))).resolves.toBe(1000);
  });
});

const types: readonly (readonly [string, string, string])[] = [
  ['a hard link', '1', 'Link'],
  ['a symbolic link', '2', 'SymbolicLink'],
  ['a character device', '3', 'CharacterDevice'],
  ['a block device', '4', 'BlockDevice'],
  ['a FIFO', '6', 'FIFO'],
  ['a GNU long name', 'L', 'NextFileHasLongPath'],
  ['a GNU long link', 'K', 'NextFileHasLongLinkpath'],
  ['a global PAX header', 'g', 'GlobalExtendedHeader'],
  ['a volume header', 'V', 'TapeVolumeHeader'],
  ['a continuation', 'M', 'ContinuationFile'],
  ['an unknown type', 'Q', 'Unsupported'],
];

describe('an archive is refused that holds', () => {
  test.each(types)('an archive is refused that holds %s', async (_name, type, called) => {
    const bytes = archive(vmXmlMember, disk({ type }));
    await expect(readAll(bytes)).rejects.toThrow(
      `bundle b: after vm.xml: it holds "./backup.disk.0" of type ${called}, which a bundle must not hold`,
    );
  });

  test.each([
    '/etc/passwd',
    '../backup.disk.0',
    './../vm.xml',
    './sub/vm.xml',
    './/vm.xml',
    '././vm.xml',
    'vm.xml.bak',
    './backup.disk.',
    './backup.disk.00',
    './backup.disk.01',
    './backup.disk.-1',
    './backup.disk.1e3',
    './backup.disk.1234567890',
    './backup.disk.0/x',
    './backup.disk.0\n',
    'backup.disk.\u0660',
    '.ssh',
    '..',
    '',
  ])('an archive is refused that holds the name %j', async (path) => {
    await expect(readAll(archive(vmXmlMember, tarMember({ path })))).rejects.toThrow(
      /which a bundle must not hold$/,
    );
  });

  test('an archive is refused that holds a hostile name, shown without what it does to a terminal', async () => {
    const bytes = archive(vmXmlMember, tarMember({ path: '\u001b[2J\u202e\u009b\nx' }));
    await expect(readAll(bytes)).rejects.toThrow('"\\u001b[2J\\u202e\\u009b\\nx"');
  });

  test.each([
    ['a folder of another name', tarMember({ path: './sub/', type: '5' })],
    ['a folder named like a disk', tarMember({ path: './backup.disk.0', type: '5' })],
    ['a file named like the folder', tarMember({ path: './', type: '7' })],
  ])('an archive is refused that holds %s', async (_name, member) => {
    await expect(readAll(archive(vmXmlMember, member))).rejects.toThrow(/must not hold|is of type/);
  });

  test.each([
    ['vm.xml', [vmXmlMember, vmXmlMember]],
    ['disk 0', [vmXmlMember, disk(), tarMember({ path: 'backup.disk.0' })]],
    ['folder', [tarMember({ path: './', type: '5' }), tarMember({ path: '.', type: '5' })]],
  ])('an archive is refused that holds %s twice', async (name, members) => {
    await expect(readAll(archive(...members))).rejects.toThrow(`${name}: occurs twice`);
  });

  test('an archive is refused that holds no vm.xml', async () => {
    await expect(readAll(archive(disk()))).rejects.toThrow('it holds no vm.xml');
  });

  test.each([
    ['vm.xml', 17 * MiB],
    ['manifest.json', 97 * MiB],
  ])(
    'an archive is refused that holds a %s that is too large, before it is read',
    async (name, size) => {
      const head = archive(tarMember({ path: `./${name}`, size }));
      await expect(readAll(head)).rejects.toThrow(new RegExp(`${name} has more than \\d+ bytes`));
    },
  );

  test('an archive is refused that holds a sparse vm.xml', async () => {
    const pax = paxMember([
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', './vm.xml'],
      ['GNU.sparse.realsize', '1000'],
    ]);
    const bytes = archive(pax, tarMember({ path: 'x', data: block('1\n1000\n0\n') }));
    await expect(readAll(bytes)).rejects.toThrow('vm.xml is a sparse file');
  });
});

describe('a header is refused', () => {
  test('a tar header is refused with a wrong checksum', async () => {
    const bytes = archive(vmXmlMember, disk());
    bytes[vmXmlMember.length + 100] = bytes[vmXmlMember.length + 100]! ^ 1;
    await expect(readAll(bytes)).rejects.toThrow('no valid tar header at byte 1024');
  });

  test.each([
    ['text that is no number', 'zzzzzzzzzzz'],
    ['a negative number', '-0000000001'],
  ])('a tar header is refused with a size that is %s', async (_name, size) => {
    const edit = (header: Buffer) => header.write(size, 124, 'latin1');
    await expect(readAll(archive(vmXmlMember, disk({ edit })))).rejects.toThrow(/no valid size/);
  });

  test('a tar header is refused with a size beyond 2^53', async () => {
    const edit = (header: Buffer) => {
      header.fill(0xff, 124, 136);
      header[124] = 0x80;
    };
    await expect(readAll(archive(vmXmlMember, disk({ edit })))).rejects.toThrow(
      /no valid tar header/,
    );
  });

  test.each([
    ['without a length', 'x path=y\n'],
    ['with a length of 0', '0 path=y\n'],
    ['with a length beyond its end', '99 path=y\n'],
    ['without an equals sign', '9 pathaay\n'],
    ['without a newline', '10 path=yy'],
    ['with a leading zero', '09 path=y\n'],
  ])('a tar header is refused that is a PAX header %s', async (_name, body) => {
    const pax = tarMember({ path: 'x', type: 'x', data: Buffer.from(body) });
    await expect(readAll(archive(vmXmlMember, pax, disk()))).rejects.toThrow(
      'a PAX header is not well-formed',
    );
  });

  test('a tar header is refused that is a PAX header of many megabytes', async () => {
    const pax = tarMember({ path: 'x', type: 'x', size: 40 * MiB });
    await expect(readAll(archive(vmXmlMember, pax))).rejects.toThrow(/cannot be right/);
  });

  test('a tar header is refused that is an empty, a second, or a last PAX header', async () => {
    const pax = paxMember([['path', './backup.disk.0']]);
    const empty = tarMember({ path: 'x', type: 'x' });
    await expect(readAll(archive(vmXmlMember, empty, disk()))).rejects.toThrow(/cannot be right/);
    await expect(readAll(archive(vmXmlMember, pax, pax, disk()))).rejects.toThrow(
      /two PAX headers/,
    );
    await expect(readAll(archive(vmXmlMember, pax))).rejects.toThrow(
      /no member follows a PAX header/,
    );
  });

  test.each(['-1', '1.5', '0x10', '', '9007199254740993', '99999999999999999999'])(
    'a tar header is refused with the PAX size %j',
    async (size) => {
      const pax = paxMember([['size', size]]);
      await expect(readAll(archive(vmXmlMember, pax, disk()))).rejects.toThrow(
        /size is not a size/,
      );
    },
  );
});

describe('a PAX name', () => {
  test('a PAX name is used instead of that of the header after it', async () => {
    const hostile = archive(vmXmlMember, paxMember([['path', '../../etc/passwd']]), disk());
    await expect(readAll(hostile)).rejects.toThrow('"../../etc/passwd"');
    const harmless = archive(
      vmXmlMember,
      paxMember([['path', './backup.disk.0']]),
      tarMember({ path: 'x' }),
    );
    await expect(readAll(harmless)).resolves.toBe(0);
  });

  test('of several PAX names the last one is used, as POSIX says', async () => {
    const pax = paxMember([
      ['path', './backup.disk.0'],
      ['path', '/etc/passwd'],
    ]);
    await expect(readAll(archive(vmXmlMember, pax, disk()))).rejects.toThrow('"/etc/passwd"');
  });
});

describe('the end of an archive is refused', () => {
  const sound = archive(vmXmlMember, disk({ data: noise(600) }));

  test.each([0, 1, 511, 512])(
    'the end of an archive is refused when %i bytes are left of its two blocks',
    async (left) => {
      await expect(readAll(sound.subarray(0, sound.length - 1024 + left))).rejects.toThrow(
        /the archive ends early, at byte \d+|is not an onevmdump bundle/,
      );
    },
  );

  test.each([
    ['one zero block', Buffer.concat([vmXmlMember, Buffer.alloc(512), disk(), endOfArchive])],
    ['more members behind it', Buffer.concat([sound, disk()])],
    ['garbage behind it', Buffer.concat([sound, noise(512)])],
    ['garbage after zeros', Buffer.concat([sound, Buffer.alloc(10_240), noise(1)])],
    ['garbage behind gzip', Buffer.concat([gzipSync(sound), noise(100)])],
    [
      'garbage after zeros behind gzip',
      Buffer.concat([gzipSync(sound), Buffer.alloc(100), noise(9)]),
    ],
    ['a gzip member behind gzip', Buffer.concat([gzipSync(sound), gzipSync(noise(10))])],
  ])('the end of an archive is refused with %s', async (_name, bytes) => {
    await expect(readAll(bytes)).rejects.toThrow(
      /is between members|follows the end of the archive|follows the compressed data|incorrect header/,
    );
  });

  test('an archive that ends in the middle of a disk is refused with the byte where it ends', async () => {
    const cut = sound.subarray(0, vmXmlMember.length + 512 + 100);
    await expect(readAll(cut)).rejects.toThrow(
      'disk 0: the archive ends early, at byte 1636 of the tar stream',
    );
  });
});

describe('a sparse map is refused', () => {
  const refuse = async (bytes: Buffer, message: RegExp) => {
    await expect(readAll(bytes)).rejects.toThrow(message);
  };

  const pax1 = (map: string, realsize = '100000', dataBytes = 0) =>
    archive(
      vmXmlMember,
      paxMember([
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.name', './backup.disk.0'],
        ['GNU.sparse.realsize', realsize],
      ]),
      tarMember({ path: 'x', data: Buffer.concat([block(map), noise(dataBytes)]) }),
    );

  test('a valid sparse map is read, so that the refusals of others mean something', async () => {
    await expect(readAll(pax1('2\n0\n512\n1024\n512\n', '100000', 1024))).resolves.toBe(1024);
  });

  test.each([
    ['overlaps', '2\n0\n512\n511\n512\n', 1024, /overlaps or is not in order/],
    ['is not sorted', '2\n1024\n512\n0\n512\n', 1024, /overlaps or is not in order/],
    ['reaches beyond the size', '1\n99999\n2\n', 2, /reaches beyond its size/],
    ['begins beyond the size', '1\n100001\n0\n', 0, /reaches beyond its size/],
    [
      'adds up to more than the member',
      '1\n0\n1024\n',
      512,
      /adds up to 1536 bytes, but it has 1024/,
    ],
    [
      'adds up to less than the member',
      '1\n0\n512\n',
      1024,
      /adds up to 1024 bytes, but it has 1536/,
    ],
    [
      'is longer than the member',
      '100000\n0\n1\n',
      0,
      /not a list of numbers|longer than the member/,
    ],
    ['has text in it', '1\n0\nx\n', 0, /not a list of numbers/],
    ['has empty lines', '1\n\n0\n', 0, /not a list of numbers/],
    ['has a sign', '1\n-5\n10\n', 0, /not a list of numbers/],
    ['has numbers beyond 2^53', '1\n9999999999999999\n1\n', 0, /not a list of numbers/],
    ['has endless numbers', `1\n${'1'.repeat(400)}\n`, 0, /not a list of numbers/],
  ])('a sparse map is refused in format 1.0 that %s', async (_name, map, dataBytes, message) => {
    await refuse(pax1(map, '100000', dataBytes), message);
  });

  test('a sparse map is refused in format 1.0 without a real size', async () => {
    const pax = paxMember([
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
    ]);
    await refuse(archive(vmXmlMember, pax, disk({ data: block('0\n') })), /sparse size is missing/);
  });

  test.each([
    ['2', '0'],
    ['1', '1'],
    ['0', '1'],
  ])('a sparse map is refused in the unknown format %s.%s', async (major, minor) => {
    const pax = paxMember([
      ['GNU.sparse.major', major],
      ['GNU.sparse.minor', minor],
      ['GNU.sparse.realsize', '0'],
    ]);
    await refuse(archive(vmXmlMember, pax, disk()), /unknown PAX format/);
  });

  test.each([
    ['has another count', '2', '0,512', 512, /should have 2 extents/],
    ['has an odd number', '1', '0,512,9', 512, /should have 1 extents/],
    ['overlaps', '2', '0,512,100,512', 1024, /overlaps/],
    ['does not add up', '1', '0,1024', 512, /adds up to 1024 bytes, but it has 512/],
    ['has text in it', '1', '0,x', 0, /not a size/],
  ])(
    'a sparse map is refused in format 0.1 that %s',
    async (_name, numblocks, map, dataBytes, message) => {
      const pax = paxMember([
        ['GNU.sparse.size', '100000'],
        ['GNU.sparse.numblocks', numblocks],
        ['GNU.sparse.map', map],
      ]);
      await refuse(archive(vmXmlMember, pax, disk({ data: noise(dataBytes) })), message);
    },
  );

  test('a sparse map is refused in format 0.0 whose records are not in order', async () => {
    const pax = paxMember([
      ['GNU.sparse.size', '100000'],
      ['GNU.sparse.numblocks', '1'],
      ['GNU.sparse.numbytes', '0'],
      ['GNU.sparse.offset', '512'],
    ]);
    await refuse(archive(vmXmlMember, pax, disk()), /not in order/);
  });

  /** An old GNU header; `more` says that another block follows. */
  const oldGnu =
    (entries: readonly (readonly [number, number])[], real: number, more = 0) =>
    (header: Buffer) => {
      const put = (value: number, at: number) =>
        header.write(`${value.toString(8).padStart(11, '0')}\0`, at);
      header.write('ustar  \0', 257, 'latin1');
      header.fill(0, 345);
      for (const [n, [offset, length]] of entries.entries()) {
        put(offset, 386 + n * 24);
        put(length, 398 + n * 24);
      }
      header[482] = more;
      put(real, 483);
    };

  test.each([
    [
      'overlaps',
      [
        [0, 512],
        [100, 512],
      ],
      100_000,
      0,
      1024,
      /overlaps/,
    ],
    ['reaches beyond the size', [[0, 512]], 511, 0, 512, /reaches beyond/],
    ['does not add up', [[0, 1024]], 4096, 0, 512, /adds up to 1024 bytes, but it has 512/],
    ['goes on after its end', [[0, 512]], 4096, 1, 1024, /goes on after its end/],
  ] as const)(
    'a sparse map is refused in the old GNU format that %s',
    async (_name, entries, real, more, dataBytes, message) => {
      const edit = oldGnu(entries, real, more);
      await refuse(
        archive(vmXmlMember, disk({ type: 'S', data: noise(dataBytes), edit })),
        message,
      );
    },
  );

  test('a sparse map is refused in the old GNU format with a number that is not valid', async () => {
    const edit = (header: Buffer) => {
      oldGnu([[0, 512]], 4096)(header);
      header.write('99999999999', 483);
    };
    await refuse(
      archive(vmXmlMember, disk({ type: 'S', data: noise(512), edit })),
      /number that is not valid/,
    );
  });

  test('a sparse map is refused in two formats at once', async () => {
    const pax = paxMember([['GNU.sparse.realsize', '5']]);
    await refuse(
      archive(vmXmlMember, pax, disk({ type: 'S', edit: oldGnu([], 0) })),
      /two formats at once/,
    );
  });
});

test('a small file that stands for terabytes of holes is read in little memory', async () => {
  // 4 GiB of holes and zeros in a few kilobytes; the disk is not read, only listed.
  const zeros = gzipSync(Buffer.alloc(64 * MiB));
  const head = gzipSync(Buffer.concat([vmXmlMember, disk({ size: 16 * 64 * MiB })]));
  const bytes = Buffer.concat([
    head,
    ...Array.from({ length: 16 }, () => zeros),
    gzipSync(endOfArchive),
  ]);
  const before = process.memoryUsage().rss;
  const { source } = memorySource(bytes);
  const { disks } = await openBundle(source, { log: noLog });
  expect(disks[0]!.size).toBe(16 * 64 * MiB);
  expect(process.memoryUsage().rss - before).toBeLessThan(150 * MiB);
});
