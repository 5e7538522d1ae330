// JSON that programs print, and JSON in files of the state folder.
import {
  encodePrepared,
  parsePrepared,
  type PreparedFile,
} from '../../../lib/backup/prepared-file.ts';
import { parseRbdExtents } from '../../../lib/read/rbd-extents.ts';
import type { Extent } from '../../../lib/read/extent.ts';
import { parseJournal } from '../../../lib/run/journal-file.ts';
import { readShape } from '../../../lib/run/json-shape.ts';
import type { Shape } from '../../../lib/run/json-shape.ts';
import { FailedError } from '../../../lib/report/errors.ts';
import { factsOf } from '../../../lib/session/undo-handlers.ts';
import { rbdSource } from '../../../lib/storage/ceph/source.ts';
import { deviceSource } from '../../../lib/storage/device/source.ts';
import { fileSource } from '../../../lib/storage/file/source.ts';
import { jobSource } from '../../../lib/storage/job/source.ts';
import { volumeSource } from '../../../lib/storage/lvm/source.ts';
import {
  fileSystemState,
  freezeFileSystems,
  thawFileSystems,
} from '../../../lib/tools/fsfreeze.ts';
import { parseLvs } from '../../../lib/tools/lvs-report.ts';
import { imageClients, imageSize, snapshotNames } from '../../../lib/tools/rbd.ts';
import { diffJson } from '../../support/rbd-streams.ts';
import { noLog } from '../../support/write-bundle.ts';
import { fileAt } from '../folder.ts';
import { inEachWay, inPieces, printing } from '../reading.ts';
import { must, type Target } from '../target.ts';
import { changeValue, mutateJson, mutateText } from '../text-mutations.ts'; // prettier-ignore

const json = (...values: readonly unknown[]): readonly Buffer[] =>
  values.map((value) => Buffer.from(JSON.stringify(value)));

/** As lvs 2.03 prints it. */
const row = {
  ...{ lv_name: 'lv-one-7-0', lv_size: '8388608', lv_active: 'active', lv_device_open: 'open' },
  ...{ lv_layout: 'linear', origin: '', pool_lv: '', data_percent: '', metadata_percent: '' },
  ...{ lv_snapshot_invalid: 'unknown', lv_health_status: '', vg_extent_size: '4194304' },
  vg_free: '1069547520',
};
const thin = { ...row, lv_name: 'lv-one-7-1', lv_layout: 'thin,sparse', pool_lv: 'pool', data_percent: '12.50' }; // prettier-ignore

export const lvs: Target = {
  name: 'lvs',
  seeds: () => json({ report: [{ lv: [row, thin] }], log: [] }, { report: [{ lv: [] }] }),
  mutate: mutateJson,
  refuses: ['CommandError'],
  read(input) {
    const group = parseLvs(input.toString(), 'vg-one-0');
    for (const { bytes } of group.volumes.values()) must(Number.isSafeInteger(bytes) && bytes >= 0, 'a size'); // prettier-ignore
    return group;
  },
};

const watcher = { address: '10.0.0.1:0/3037498129', client: 4125, cookie: 1234567 };

export const rbd: Target = {
  name: 'rbd',
  seeds: () =>
    json(
      { name: 'one-3-7-0', id: '10e5', size: 8388608, objects: 2, order: 22, features: ['layering'] },
      [{ id: 4, name: 'onevmdump-1', size: 8388608, protected: 'false', timestamp: 'Sat Nov 28' }],
      { watchers: [watcher] },
      { watchers: { watcher } },
    ),
  mutate: mutateJson,
  refuses: ['CommandError'],
  read(input) {
    const runner = printing(() => input);
    return inEachWay(
      () => imageSize(runner, {}, 'one/one-3', 'disk 0'),
      () => snapshotNames(runner, {}, 'one/one-3', 'disk 0'),
      () => imageClients(runner, {}, 'one/one-3', 'disk 0'),
    );
  },
}; // prettier-ignore

const imageBytes = 1024 * 1024;

export const rbdExtents: Target = {
  name: 'rbd-extents',
  seeds: () => {
    const some = [
      { offset: 0, length: 4096 },
      { offset: 8192, length: 65_536, exists: false },
      { offset: 131_072, length: 917_504 },
    ];
    const texts = [diffJson(some), diffJson(some, '\n'), diffJson([]), JSON.stringify(some)];
    const booleans = JSON.stringify(some.map((one) => ({ exists: true, ...one })));
    return [...texts.slice(0, 3), booleans].map((text) => Buffer.from(text));
  },
  mutate: mutateJson,
  refuses: ['FailedError'],
  async read(input) {
    const extents = await parseRbdExtents(inPieces(input, 64), imageBytes, 'disk 0');
    const all = JSON.parse(input.toString()) as readonly (Extent & { exists: unknown })[];
    const bytes = (list: Iterable<Extent>) =>
      [...list].reduce((sum, { length }) => sum + length, 0);
    const known = all.filter(({ exists }) => exists === true || exists === 'true');
    must(bytes(known) === bytes(extents), 'other extents than JSON.parse finds');
    mustAscend(extents, imageBytes);
    return extents;
  },
};

/** Extents ascend, do not overlap, and lie within the disk. */
export function mustAscend(extents: Iterable<Extent>, size: number): void {
  let end = 0;
  for (const { offset, length } of extents) {
    must(offset >= end && length > 0 && offset + length <= size, 'the order of the extents');
    end = offset + length;
  }
}

export const guestAgent: Target = {
  name: 'guest-agent',
  seeds: () => json({ return: 'thawed' }, { return: 'frozen' }, { return: 2 }, { return: 0 }),
  mutate: mutateJson,
  refuses: ['FailedError'],
  read(input) {
    const runner = printing(() => input);
    const domain = { runner, uri: '', name: 'one-7' };
    return inEachWay(
      () => fileSystemState(domain),
      () => freezeFileSystems(domain),
      () => thawFileSystems(domain),
    );
  },
};

const identity = {
  ...{ pid: 7, startTime: '1234', bootId: 'b', machineId: '0'.repeat(32), host: 'h' },
  pidNamespace: '4026531836',
};
const header = {
  ...{ version: 1, runId: '0011223344556677', process: identity, action: 'export' },
  ...{ vmId: 7, started: '2026-01-02T03:04:05.000Z' },
};
const guest = { uri: 'qemu:///system', domain: 'one-8', guard: 'onevmdump-guard-1' };
const at = { endpoint: 'http://one:2633/RPC2', name: 'web' };
const undos: readonly object[] = [
  { kind: 'remove-file', path: '/b/x.part' },
  { kind: 'remove-unfinished', part: '/b/x.part', path: '/b/x' },
  { kind: 'remove-folder', path: '/tmp/onevmdump-1' },
  { kind: 'stop-process', program: 'ssh', argument: '/tmp/onevmdump-1/' },
  { kind: 'stop-space-watch', name: 'onevmdump-space-1', description: '/ds/0/8/x.xml' },
  { kind: 'thaw', ...guest },
  { kind: 'resume', ...guest },
  { kind: 'remove-image', ...at, path: '/x', since: 1, owner: 0 },
  { kind: 'remove-template', ...at, since: 1 },
  { kind: 'restore-lock', endpoint: at.endpoint, vmId: 8, before: { level: 2, owner: 0, time: 1, requestId: -1 }, since: 0 },
]; // prettier-ignore

export const journal: Target = {
  name: 'journal',
  seeds: () => {
    const lines = [
      header,
      ...undos.map((undo, seq) => ({ seq, undo, ...(seq % 3 === 0 && { on: { host: 'h', user: 'u' } }) })),
      ...[{ seq: 1, done: true }, { held: true }],
    ].map((line) => JSON.stringify(line));
    return [Buffer.from(`${lines.join('\n')}\n`), Buffer.from(`${lines.slice(0, 4).join('\n')}\n{"seq":9,"un`)];
  },
  mutate(seed, chance) {
    if (chance.below(3) === 0) return mutateText(seed, chance);
    const lines = seed.toString().split('\n');
    const place = chance.below(lines.length);
    try {
      const value = JSON.parse(lines[place] ?? '') as object;
      changeValue(value, chance);
      lines[place] = JSON.stringify(value);
    } catch {
      lines.splice(place, 1);
    }
    return Buffer.from(lines.join('\n'));
  },
  refuses: ['FailedError'],
  read(input) {
    const read = parseJournal(input.toString(), '/state/journal/x');
    for (const { undo } of read.pending) {
      const facts = factsOf(undo);
      must(typeof facts.describe() === 'string', 'what an undo says');
      must(['anywhere', 'ended', 'by-hand'].includes(facts.fate(read.header.runId)), 'a fate');
      must(facts.unlocks === undefined || Number.isSafeInteger(facts.unlocks), 'whom it unlocks');
    }
    return read;
  },
}; // prettier-ignore

const sources: readonly Shape<unknown>[] = [rbdSource, deviceSource, fileSource, jobSource, volumeSource]; // prettier-ignore

export const preparedFile: Target = {
  name: 'prepared-file',
  seeds: () => {
    const layers = { driver: 'qcow2', path: '/ds/0/7/disk.1', backing: { driver: 'raw', path: '/ds/1/x' } };
    const found = [
      { access: { user: 'libvirt', keyfile: '/k' }, image: 'one/one-3', snapshot: 's', virtualSize: 10 },
      { path: '/dev/x', writes: '1 2', virtualSize: 10 },
      { node: layers, virtualSize: 10, stamps: { '/ds/1/x': '1 2 3' } },
      { socket: '/s', exportName: 'vda', virtualSize: 10, description: '/x.xml' },
      { group: 'vg', name: 'lv', snapshot: 'thin', virtualSize: 10 },
    ];
    const image = { id: 3, name: 'debian', type: 'OS', persistent: true, datastoreId: 1, attributes: { A: 'b' } } as const;
    const file: Omit<PreparedFile, 'version' | 'state'> = {
      vm: fileAt('fixtures/vm/vm-undeployed-simple.xml').toString('base64'),
      images: [[0, image]],
      consistency: { level: 'agent', at: '2026-01-02T03:04:05.678Z', frozenMs: 12 },
      disks: found.map((source, id) => ({ id, layout: id % 2 === 0 ? { format: 'raw' } : { format: 'qcow2', clusterSize: 65536 }, virtualSize: 10, source })),
    };
    return [
      Buffer.from(encodePrepared(file, { nvram: Buffer.alloc(10_000, 'v'), tpm: Buffer.from('tpm') })),
      Buffer.from(encodePrepared(file, {})),
    ];
  },
  mutate: mutateJson,
  refuses: ['FailedError'],
  read(input) {
    const file = parsePrepared(input.toString(), noLog);
    for (const { source } of file.disks) {
      for (const shape of sources) {
        try {
          readShape(shape, source, (why) => new FailedError(why));
        } catch (error) {
          if (!(error instanceof FailedError)) throw error;
        }
      }
    }
    return file;
  },
}; // prettier-ignore
