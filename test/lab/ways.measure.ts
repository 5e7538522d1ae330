// `npm run lab:measure`: exports running VMs on each storage by QEMU's backup job and by the storage's snapshots in
// turn, while their guests idle and while they write all the time, and prints medians. By hand: README.md here.
import { afterAll, describe, test } from '@jest/globals';
import { appendFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from '../../bench/statistics.ts';
import type { Ended } from '../support/shell.ts';
import { until } from '../support/limits.ts';
import { downCeph, upCeph } from './ceph.ts';
import { makeScene, reportOf } from './export-scene.ts';
import { whileClockRuns } from './guest-clock.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt } from './libvirt.ts';
import { exportOn, folder as hostFolder, prepareHost, tidyHost } from './lvm-host.ts';
import { downLvm, upLvm } from './lvm.ts';

const MiB = 1024 * 1024;
const rounds = Number(process.env['ONEVMDUMP_LAB_ROUNDS'] ?? '3');
const output = process.env['ONEVMDUMP_LAB_OUTPUT'];
/** How long the guest's writing is measured without an export, in milliseconds. */
const aloneMs = 4000;

type Way = 'qemu' | 'storage';

interface Measured {
  readonly vm: LabVm;
  readonly ways: readonly Way[];
  exportVm(args: readonly string[]): Promise<Ended>;
  /** Bytes in the scratch files or snapshots of an export that runs; 0 when there are none. */
  keptBytes(): Promise<number>;
  removeBundles(): Promise<void>;
  close(): Promise<void>;
}

/** What one round says, by the column's heading. */
type Figures = Readonly<Record<string, number>>;

const table: string[] = [];

afterAll(async () => {
  const text = `${table.join('\n')}\n`;
  process.stderr.write(`\n${text}`);
  if (output !== undefined) await appendFile(output, text);
});

describe('the ways to fix a point in time', () => {
  test.each([
    ['files', files],
    ['Ceph', ceph],
    ['thick LVM', () => volumes('thick')],
    ['thin LVM', () => volumes('thin')],
  ])('%s', async (name, begin) => {
    const measured = await begin();
    const { vm, ways } = measured;
    try {
      await vm.start();
      await fill(vm, '/disk/a/fill', 96);
      await fill(vm, '/disk/b/load', 32);
      const figures = new Map<Way, Figures[]>(ways.map((way) => [way, []]));
      for (let round = 0; round < rounds; round++) {
        for (const way of ways) figures.get(way)?.push(await measureOnce(measured, way));
      }
      for (const [way, all] of figures) addRow(name, way, all);
    } finally {
      await measured.close();
    }
  });
});

async function fill(vm: LabVm, file: string, mib: number): Promise<void> {
  await vm.startLoad(file, mib);
  await until(`${vm.domain} has written`, async () => (await vm.loadWritten()) >= mib);
  await vm.stopLoad();
}

async function measureOnce(measured: Measured, way: Way): Promise<Figures> {
  const { vm } = measured;
  const exported = async (): Promise<{ seconds: number; report: ReturnType<typeof reportOf> }> => {
    const from = performance.now();
    const report = reportOf(await measured.exportVm(['--snapshot', way]));
    const seconds = (performance.now() - from) / 1000;
    await measured.removeBundles();
    return { seconds, report };
  };
  const { result: idle, clock } = await whileClockRuns(vm, exported);
  await vm.startLoad('/disk/b/load', 32);
  // The first MiB come with the making of the data.
  await until(`${vm.domain} writes`, async () => (await vm.loadWritten()) >= 32);
  const alone = await writingRate(vm, () => sleep(aloneMs));
  let kept = 0;
  let busySeconds = 0;
  const beside = await writingRate(vm, async () => {
    const over = new AbortController();
    const watching = (async (): Promise<void> => {
      while (!over.signal.aborted) {
        kept = Math.max(kept, await measured.keptBytes());
        await sleep(500);
      }
    })();
    try {
      busySeconds = (await exported()).seconds;
    } finally {
      over.abort();
      await watching;
    }
  });
  await vm.stopLoad();
  const read = idle.report.disks.reduce((sum, { dataBytes }) => sum + dataBytes, 0);
  const size = idle.report.disks.reduce((sum, { virtualSize }) => sum + virtualSize, 0);
  return {
    'disks, MiB': size / MiB,
    'read, MiB': read / MiB,
    'frozen, ms': idle.report.consistency.frozenMs,
    'paused, ms': clock.pausedMs,
    'longest gap, ms': clock.longestGapMs,
    'gap without, ms': clock.usualGapMs,
    seconds: idle.seconds,
    'seconds, busy guest': busySeconds,
    'guest alone, MiB/s': alone,
    'guest meanwhile, MiB/s': beside,
    'kept, MiB': kept / MiB,
  };
}

/** How many MiB a second the guest writes while something is done. */
async function writingRate(vm: LabVm, body: () => Promise<unknown>): Promise<number> {
  const [from, before] = [performance.now(), await vm.loadWritten()];
  await body();
  return ((await vm.loadWritten()) - before) / ((performance.now() - from) / 1000);
}

function addRow(name: string, way: Way, all: readonly Figures[]): void {
  const headings = Object.keys(all[0] ?? {});
  if (table.length === 0) {
    table.push(`| storage | way | ${headings.join(' | ')} |`);
    table.push(`| --- | --- | ${headings.map(() => '---').join(' | ')} |`);
  }
  const cell = (heading: string): string => {
    const value = median(all.map((one) => one[heading] ?? 0));
    return value < 20 ? value.toFixed(1) : String(Math.round(value));
  };
  const row = `| ${name} | ${way} | ${headings.map(cell).join(' | ')} |`;
  table.push(row);
  process.stderr.write(`${row}\n${all.map((one) => JSON.stringify(one)).join('\n')}\n`);
}

async function files(): Promise<Measured> {
  const lab = await upLibvirt();
  const { datastores, uri } = lab;
  const scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: datastores,
    ONEVMDUMP_LIBVIRT_URI: uri,
  });
  const vm = lab.qcow2;
  return {
    vm,
    ways: ['qemu'],
    exportVm: (args) => scene.exportOf(vm, args),
    keptBytes: () => scratchBytes(vm.folder),
    removeBundles: () => scene.removeBundles(),
    async close() {
      await scene.close();
      if (lab.startedNow) await downLibvirt();
    },
  };
}

async function ceph(): Promise<Measured> {
  const libvirt = await upLibvirt();
  const lab = await upCeph();
  const { vm, images } = lab;
  const scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_LIBVIRT_URI: libvirt.uri,
  });
  return {
    vm,
    ways: ['qemu', 'storage'],
    exportVm: (args) => scene.exportOf(vm, args),
    async keptBytes() {
      let bytes = await scratchBytes(vm.folder);
      for (const image of [images[0], images[1], images[3]]) {
        // With a snapshot, what the image itself has is what was overwritten since.
        const text = await lab.rbd('du', '--format', 'json', image);
        const { images: parts } = JSON.parse(text) as {
          images: { snapshot?: string; used_size: number }[];
        };
        const own = parts.find(({ snapshot }) => snapshot === undefined);
        if (parts.some(({ snapshot }) => snapshot?.startsWith('onevmdump-'))) {
          bytes += own?.used_size ?? 0;
        }
      }
      return bytes;
    },
    removeBundles: () => scene.removeBundles(),
    async close() {
      if (await vm.isRunning()) await vm.destroy();
      await scene.close();
      if (lab.startedNow) await downCeph();
      if (libvirt.startedNow) await downLibvirt();
    },
  };
}

async function volumes(kind: 'thick' | 'thin'): Promise<Measured> {
  const lab = await upLvm();
  await prepareHost(lab);
  for (const other of [lab.thick, lab.thin]) if (await other.isRunning()) await other.powerOff();
  const vm = lab[kind];
  // What the guest overwrites has room in a thick snapshot; the thin pool has no room for that of all disks.
  const env = kind === 'thick' ? { ONEVMDUMP_LVM_SNAPSHOT_PERCENT: '100' } : {};
  // In KiB: what of the snapshots is used, thin ones only what they do not share, and what the scratch files have.
  const kept = `lvs --noheadings --units k --nosuffix -o lv_size,data_percent,lv_name -S 'lv_name =~ "^onevmdump-" && segtype != "thin"' |
  awk '{ sum += $1 * $2 / 100 } END { print sum + 0 }'; du -kc ${vm.folder}/onevmdump-*.scratch.* 2>/dev/null | tail -n 1`;
  return {
    vm,
    ways: ['qemu', 'storage'],
    exportVm: (args) => exportOn(lab, vm, { args, env }),
    keptBytes: async () => {
      const lines = (await lab.run(kept)).split('\n');
      return lines.reduce((sum, line) => sum + (parseFloat(line) || 0), 0) * 1024;
    },
    removeBundles: async () => {
      await lab.run(`rm -f ${hostFolder}/*.tar.gz`);
    },
    async close() {
      if (await vm.isRunning()) await vm.powerOff();
      await tidyHost(lab);
      if (lab.startedNow) await downLvm();
    },
  };
}

async function scratchBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) {
    if (!name.includes('.scratch.')) continue;
    bytes += (await stat(join(folder, name)).catch(() => ({ blocks: 0 }))).blocks * 512;
  }
  return bytes;
}
