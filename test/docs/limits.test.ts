// A limit that a document states is that of the code. A row names the place in the document, where {} stands for the number, and
// the constant or the setting. Whoever changes a constant finds its documents here.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { settings } from '../../lib/config/settings.ts';

const root = join(import.meta.dirname, '../..');
const KiB = 1024;
const MiB = 1024 * KiB;
const million = 1_000_000;
const s = 1000;
const minute = 60 * s;

type Row = readonly [
  document: string,
  phrase: string,
  file: string,
  constant: string,
  unit: number,
];

const format = 'docs/bundle-format.md';
const rows: readonly Row[] = [
  [format, 'usually {} MiB and at most', 'lib/bundle/write/frame-body.ts', 'frameSize', MiB],
  [
    format,
    'and at most {} MiB, compressed on',
    'lib/bundle/format/frame-list-scan.ts',
    'largestFrame',
    MiB,
  ],
  [
    format,
    'A frame has at most {} MiB of the tar',
    'lib/bundle/format/frame-list-scan.ts',
    'largestFrame',
    MiB,
  ],
  [format, 'The writer cuts every {} MiB', 'lib/bundle/write/frame-body.ts', 'frameSize', MiB],
  [format, '`./nvram` has at most {} MiB', 'lib/vm/carried-state.ts', 'largestNvram', MiB],
  [format, 'A text has at most {} characters', 'lib/run/json-shape.ts', 'longestText', 1],
  [
    format,
    'that take more than {} KiB for one image',
    'lib/bundle/write/fitting-facts.ts',
    'largestOfImage',
    KiB,
  ],
  [format, "the image's share of {} MiB", 'lib/bundle/write/fitting-facts.ts', 'largestFacts', MiB],
  [format, 'share of 8 MiB and {} facts for', 'lib/bundle/write/fitting-facts.ts', 'mostFacts', 1],
  [format, '`vm.xml` above {} MiB', 'lib/xml/xml.ts', 'maxXmlBytes', MiB],
  [format, '`vm.xml` above {} MiB', 'lib/bundle/read/opened-bundle.ts', 'largestVmXml', MiB],
  [format, '{} elements or 50 levels', 'lib/xml/xml-scan.ts', 'mostElements', 1],
  [format, 'elements or {} levels', 'lib/xml/xml-scan.ts', 'maxDepth', 1],
  [format, '`nvram` above {} MiB', 'lib/vm/carried-state.ts', 'largestNvram', MiB],
  [
    format,
    '`manifest.json` above {} MiB',
    'lib/bundle/format/manifest-parse.ts',
    'largestManifest',
    MiB,
  ],
  [format, 'of which at most {} MiB and', 'lib/bundle/format/manifest-scan.ts', 'largestRest', MiB],
  [format, 'MiB and {} values are not', 'lib/bundle/format/manifest-scan.ts', 'mostValues', 1],
  [format, 'lists of frames, {} levels deep', 'lib/bundle/format/manifest-scan.ts', 'deepest', 1],
  [
    format,
    'more than {} million frames',
    'lib/bundle/format/frame-list-scan.ts',
    'mostFrames',
    million,
  ],
  [format, 'frames; more than {} disks', 'lib/bundle/format/manifest.ts', 'mostDisks', 1],
  [format, 'a PAX header above {} MiB', 'lib/bundle/read/tar-member.ts', 'largestPaxHeader', MiB],
  [
    format,
    'a disk of more than {} million extents',
    'lib/bundle/read/extent-map.ts',
    'mostExtents',
    million,
  ],
  [
    format,
    'a frame of more than {} MiB',
    'lib/bundle/format/frame-list-scan.ts',
    'largestFrame',
    MiB,
  ],
  ['docs/remote.md', 'waits {} s for the connection', 'lib/run/ssh-args.ts', 'connectSeconds', 1],
  [
    'docs/remote.md',
    'waits for a heartbeat every {} s',
    'lib/run/ssh-connection.ts',
    'heartbeatMs',
    s,
  ],
  ['docs/remote.md', 'no heartbeat came for {} s', 'lib/run/ssh-connection.ts', 'keeperSeconds', 1],
  [
    'docs/remote.md',
    'SIGTERM, and after {} s SIGKILL',
    'lib/run/local-runner.ts',
    'stopGraceMs',
    s,
  ],
  [
    'docs/remote.md',
    'requests for blocks of {} MiB',
    'lib/bundle/location/ssh-source.ts',
    'blockSize',
    MiB,
  ],
  [
    'docs/remote.md',
    'Up to {} blocks are kept',
    'lib/bundle/location/ssh-source.ts',
    'mostBlocks',
    1,
  ],
  [
    'docs/remote.md',
    'up to {} are requested ahead',
    'lib/bundle/location/ssh-source.ts',
    'ahead',
    1,
  ],
  [
    'docs/remote.md',
    'thawed by the watchdog, after at most {} s',
    'lib/guest/watchdog.ts',
    'guardLimitMs',
    s,
  ],
  ['docs/restore.md', 'at most {} bytes, not taken', 'lib/restore/names.ts', 'maxNameBytes', 1],
  [
    'docs/restore.md',
    'waits for that, up to {} minutes',
    'lib/session/undo-handlers.ts',
    'imageWaitMsByDefault',
    minute,
  ],
  [
    'docs/storage-file.md',
    'has ended (it checks twice a second) or after {} s',
    'lib/guest/watchdog.ts',
    'guardLimitMs',
    s,
  ],
  [
    'docs/storage-file.md',
    'repeated for up to {} s until libvirt',
    'lib/guest/watchdog.ts',
    'thawLimitMs',
    s,
  ],
  [
    'docs/storage-file.md',
    'more than {} layers',
    'lib/storage/file/image-chain.ts',
    'maxLayers',
    1,
  ],
  [
    'docs/storage-file.md',
    'most {} KiB between data are read',
    'lib/read/nbd-reader.ts',
    'maxGap',
    KiB,
  ],
  ['docs/storage-file.md', 'and {} s of silence', 'lib/read/nbd-reader.ts', 'defaultStallMs', s],
  [
    'docs/storage-lvm.md',
    'must be less than {} % full',
    'lib/storage/lvm/room.ts',
    'metadataLimitPercent',
    1,
  ],
  [
    'docs/storage-lvm.md',
    'within {} s, which is as long as',
    'lib/tools/driver-lock.ts',
    'driverLockSeconds',
    1,
  ],
  ['docs/storage-lvm.md', 'and 16 bytes for each {} KiB', 'lib/tools/lvm.ts', 'snapshotChunk', KiB],
  [
    'docs/storage-ceph.md',
    'a `rbd snap create` that took longer than {} s',
    'lib/tools/rbd.ts',
    'createLimitMs',
    s,
  ],
];

test.each(rows)('%s: "%s" is the number in %s (%s)', (document, phrase, file, constant, unit) => {
  expect(statedIn(document, phrase) * unit).toBe(valueOf(file, constant));
});

test.each([
  ['README.md', "by default {} % of the disks' sizes", settings.scratchPercent],
  ['README.md', 'files, {} % in the volume group', settings.lvmSnapshotPercent],
  ['docs/storage-file.md', '`SCRATCH_MIN_MB` ({}) MiB', settings.scratchMinMb],
] as const)('%s: "%s" is the default of the setting', (document, phrase, setting) => {
  expect(statedIn(document, phrase)).toBe(Number(setting.default));
});

/** The number at {}; the line breaks of the document do not matter. */
function statedIn(document: string, phrase: string): number {
  const text = readFileSync(join(root, document), 'utf8').replaceAll(/\s+/g, ' ');
  const [before = '', after = ''] = phrase
    .split('{}')
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const found = new RegExp(`${before}([\\d.,]+)${after}`).exec(text)?.[1];
  if (found === undefined) throw new Error(`${document} does not say: ${phrase}`);
  return Number(found.replaceAll(',', ''));
}

/** `const NAME = 3 * 1024;`: the product of numbers. */
function valueOf(file: string, constant: string): number {
  const text = readFileSync(join(root, file), 'utf8');
  const found = new RegExp(`^(?:export )?const ${constant} = ([\\d_ *]+);`, 'm').exec(text)?.[1];
  if (found === undefined) throw new Error(`${file} has no constant ${constant}`);
  return found
    .replaceAll('_', '')
    .split('*')
    .reduce((product, factor) => product * Number(factor), 1);
}
