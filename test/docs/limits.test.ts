// A limit that a document states is that of the code. A row names the place in the document, where {} stands for the number, and
// the constant or the setting. Whoever changes a constant finds its documents here.
import { expect, test } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { jobSettings } from '../../lib/storage/job/settings.ts';
import { lvmSettings } from '../../lib/storage/lvm/settings.ts';

const root = join(import.meta.dirname, '../..');
const KiB = 1024;
const MiB = 1024 * KiB;
const million = 1_000_000;
const s = 1000;
const minute = 60 * s;

/** Of one document: phrase, constant (with its file, where several have the name), and the unit of the document. */
type Limit = readonly [phrase: string, constant: string, unit: number];

const limits: Readonly<Record<string, readonly Limit[]>> = {
  'docs/bundle-format.md': [
    ['1 byte to {} MiB of the tar stream', 'largestFrame', MiB],
    ['a power of two from {} to 32 MiB', 'smallestFrame', MiB],
    ['onevmdump cuts every {} MiB', 'frameSize', MiB],
    ['With frames of {} MiB a disk has room', 'largeFrameSize', MiB],
    ['a disk has room for {} TiB of data', 'largestData', 2 ** 40],
    ['regions of equal size, {} MiB.', 'smallestRegion', MiB],
    ['more than {} (2^20) regions', 'mostRegions', 1],
    ['into blocks of {} bytes, numbered', 'region-hash.ts blockSize', 1],
    ['after each {} blocks', 'longestRun', 1],
    ['**Header**, {} bytes', 'region-table.ts headerSize', 1],
    ['**Frames**, {} bytes each', 'frameRecord', 1],
    ['**Regions**, {} bytes each', 'regionRecord', 1],
    ['**Runs**, {} bytes each', 'runRecord', 1],
    ['They hold a record of {} bytes', 'recordSize', 1],
    ['gives up after {} MiB of zeros', 'fewZeros', MiB],
    ['A text has at most {} characters', 'longestText', 1],
    ['that take more than {} KiB for one image', 'largestOfImage', KiB],
    ["the image's share of {} MiB", 'largestFacts', MiB],
    ['{} MiB for one tag', 'longestTag', MiB],
    ['`vm.xml` | {} MiB', 'maxXmlBytes', MiB],
    ['`vm.xml` | {} MiB', 'largestVmXml', MiB],
    ['{} elements, 50 levels', 'mostElements', 1],
    ['elements, {} levels', 'maxDepth', 1],
    ['`nvram`, `tpm.tar` | {} MiB', 'largestNvram', MiB],
    ['`about.json`, `manifest.json` | {} MiB each', 'largestManifest', MiB],
    ['disks, members | {}, 1,536', 'mostDisks', 1],
    ['disks, members | 512, {} |', 'mostMembers', 1],
    ['frames | {} MiB of the tar stream', 'largestFrame', MiB],
    ['of the tar stream, {} MiB stored', 'largestStored', MiB],
    ['{} of a member that is not a disk', 'mostMemberFrames', 1],
    ['{} of one disk', 'mostFrames', 1],
    ['a PAX header | {} MiB', 'largestPaxHeader', MiB],
    ['extents of a disk | {} million', 'read/extents.ts mostExtents', million],
    ['runs of a disk | {}: one', 'mostRuns', 1],
  ],
  'docs/remote.md': [
    ['waits {} s for the connection', 'connectSeconds', 1],
    ['waits for a heartbeat every {} s', 'heartbeatMs', s],
    ['no heartbeat came for {} s', 'keeperSeconds', 1],
    ['SIGTERM, and after {} s SIGKILL', 'run/local-runner.ts stopGraceMs', s],
    ['requests for blocks of {} MiB', 'bundle/location/ssh-source.ts blockSize', MiB],
    ['Up to {} blocks are kept', 'mostBlocks', 1],
    ['up to {} are requested ahead', 'ahead', 1],
    ['thawed by the watchdog, after at most {} s', 'watchdogLimitMs', s],
  ],
  'docs/restore.md': [
    ['at most {} bytes, not taken', 'maxNameBytes', 1],
    ['waits for that, up to {} minutes', 'imageWaitMsByDefault', minute],
  ],
  'docs/running-guests.md': [
    ['has ended (it checks twice a second) or after {} s', 'watchdogLimitMs', s],
    ['repeated for up to {} s until the agent', 'thawLimitMs', s],
  ],
  'docs/storage-file.md': [
    ['more than {} layers', 'maxLayers', 1],
    [
      'at most {} KiB between data are read with it (and dropped). A',
      'read/raw-reader.ts maxGap',
      KiB,
    ],
    [
      'at most {} KiB between data are read with it (and dropped), which',
      'read/nbd-reader.ts maxGap',
      KiB,
    ],
    ['and {} s of silence', 'read/nbd-reader.ts defaultStallMs', s],
  ],
  'docs/storage-lvm.md': [
    ['must be less than {} % full', 'metadataLimitPercent', 1],
    ['within {} s, which is as long as', 'driverLockSeconds', 1],
    ['and 16 bytes for each {} KiB', 'snapshotChunk', KiB],
  ],
  'docs/storage-ceph.md': [['a `rbd snap create` that took longer than {} s', 'createLimitMs', s]],
};

const rows = Object.entries(limits).flatMap(([document, own]) =>
  own.map((limit) => [document, ...limit] as const),
);

test.each(rows)(
  '%s states in "%s" the number of the constant %s',
  (document, phrase, constant, unit) => {
    expect(statedIn(document, phrase) * unit).toBe(valueOf(constant));
  },
);

test.each([
  ['README.md', "by default {} % of the disks' sizes", jobSettings.scratchPercent],
  ['README.md', 'for snapshots of LVM {} % in the volume group', lvmSettings.percent],
  ['docs/running-guests.md', '`SCRATCH_MIN_MB` ({}) MiB', jobSettings.scratchMinMb],
] as const)('%s states in "%s" the default of the setting', (document, phrase, setting) => {
  expect(statedIn(document, phrase)).toBe(Number(setting.default));
});

test('a number that differs from its constant, and a constant that is gone, are found', () => {
  expect(statedIn('docs/remote.md', 'waits {} s for the connection')).toBe(
    valueOf('connectSeconds'),
  );
  expect(() => statedIn('docs/remote.md', 'waits {} s for the moon')).toThrow('does not say');
  expect(() => valueOf('moonSeconds')).toThrow('constant moonSeconds in 0 files');
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

/** Of `const NAME = 3 * 2 ** 10 + OTHER;`. @param constant `NAME`, or `file NAME` */
function valueOf(constant: string): number {
  const [name = '', file = ''] = constant.split(' ').reverse();
  const definition = new RegExp(`^(?:export )?const ${name} = ([\\w *+()-]+);`, 'm');
  const found = sources()
    .filter(({ path }) => path.endsWith(file))
    .flatMap(({ text }) => definition.exec(text)?.[1] ?? []);
  const [expression] = found;
  if (expression === undefined || found.length > 1) {
    throw new Error(`there is a constant ${name} in ${found.length} files ${file}`);
  }
  const numbers = expression
    .replaceAll('_', '')
    .replaceAll(/[A-Za-z]\w*/g, (other) => String(valueOf(other)));
  return Number(runInNewContext(numbers));
}

function sources(): { readonly path: string; readonly text: string }[] {
  const lib = join(root, 'lib');
  return readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path, text: readFileSync(join(lib, path), 'utf8') }));
}
