// `npm run bench:many-extents`: a disk of 16 TiB with millions of extents is exported, shown and verified. Prints
// time for each extent, and memory. The disk exists nowhere (many-disk.ts); everything else is as in a real export.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parseCompression } from '../lib/config/compression.ts';
import { bundleTarget } from '../lib/bundle/location/destination.ts';
import { createLog } from '../lib/report/log.ts';
import { silent } from '../lib/report/progress.ts';
import { loadConfig } from '../lib/session/load-config.ts';
import { withRun } from '../lib/session/with-run.ts';
import { parseVm } from '../lib/vm/vm-xml.ts';
import { writeBundle } from '../lib/write-bundle.ts';
import { fileVm } from '../test/support/file-vm.ts';
import { manyReader, type ManyDisk } from './many-disk.ts';
import { measure } from './measure.ts';
import { inWords, machine, table, withSection } from './report.ts';
import { onevmdump } from './scene.ts';

const usage = `npm run bench:many-extents -- [options]

  --extents N       how many (100000)
  --extent-kib N    how large each is (64)
  --virtual-gib N   the disk's virtual size (16384)
  --compress M      as for an export (gzip)
  --dir FOLDER      where the bundle is made (/var/tmp)
  --json FILE       write the figures as JSON
  --markdown FILE   also put the text between the marks of this document, such as bench/README.md
`;

const KiB = 1024;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      extents: { type: 'string', default: '100000' },
      'extent-kib': { type: 'string', default: '64' },
      'virtual-gib': { type: 'string', default: '16384' },
      compress: { type: 'string', default: 'gzip' },
      dir: { type: 'string', default: '/var/tmp' },
      json: { type: 'string' },
      markdown: { type: 'string' },
      // For the process that is measured: the bundle to write.
      export: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(usage);
  const disk: ManyDisk = {
    virtualSize: Number(values['virtual-gib']) * KiB ** 3,
    extents: Number(values.extents),
    extentSize: Number(values['extent-kib']) * KiB,
  };
  if (values.export !== undefined) return exportDisk(disk, values.export, values.compress);
  const folder = await mkdtemp(join(values.dir, 'onevmdump-many-'));
  try {
    await measureAll(disk, folder, values);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Outputs {
  readonly compress: string;
  readonly json?: string | undefined;
  readonly markdown?: string | undefined;
}

async function measureAll(
  disk: ManyDisk,
  folder: string,
  { compress, json, markdown }: Outputs,
): Promise<void> {
  const where = machine();
  const bundle = join(folder, 'many');
  const self = fileURLToPath(import.meta.url);
  const { virtualSize, extents, extentSize } = disk;
  const words = `--extents ${extents} --extent-kib ${extentSize / KiB} --virtual-gib ${virtualSize / KiB ** 3} --compress '${compress}'`;
  const env = { ONEVMDUMP_CONFIG: '/dev/null', ONEVMDUMP_STATE_DIR: join(folder, 'state') };
  const steps = [
    { name: 'export', line: `'${self}' ${words} --export '${bundle}'` },
    { name: 'show', line: `'${onevmdump}' show '${bundle}'` },
    { name: 'verify', line: `'${onevmdump}' verify '${bundle}'` },
  ];
  const figures = [];
  for (const { name, line } of steps) {
    const measured = await measure(line, env);
    figures.push({ name, ...measured });
    process.stderr.write(`${name}: ${measured.seconds.toFixed(2)} s\n`);
  }
  const { size } = await stat(bundle);
  const text = `${inWords(where)} ${extents} extents of ${extentSize / KiB} KiB in
${virtualSize / KiB ** 3} GiB, ${compress}: ${(size / 1e6).toFixed(0)} MB.

${table([
  ['step', 'seconds', 'µs per extent', 'CPU s', 'peak MB'],
  ...figures.map(({ name, seconds, cpuSeconds, peakMB }) => [
    name,
    seconds.toFixed(2),
    ((seconds / extents) * 1e6).toFixed(1),
    cpuSeconds.toFixed(2),
    peakMB.toFixed(0),
  ]),
])}
`;
  process.stdout.write(`\n${text}`);
  if (markdown !== undefined) {
    await writeFile(markdown, withSection(await readFile(markdown, 'utf8'), 'many', text));
  }
  if (json !== undefined) {
    await writeFile(
      json,
      JSON.stringify({ machine: where, disk, compress, size, figures }, null, 1),
    );
  }
}

/** Writes a bundle as an export does, but for the disk's reader. */
async function exportDisk(disk: ManyDisk, bundle: string, compress: string): Promise<void> {
  const log = createLog({
    script: 'many-extents',
    debug: false,
    write: (line) => process.stderr.write(line),
  });
  const { xml } = await fileVm(`${bundle}.datastores`, 1, [{ id: 0, format: 'raw' }]);
  const vm = parseVm(Buffer.from(xml));
  const { signal } = new AbortController();
  const config = await loadConfig({ file: undefined, env: process.env });
  const setup = {
    config,
    log,
    signal,
    progress: silent,
    action: 'export',
    vmId: undefined,
  } as const;
  await withRun(setup, async (run) => {
    const started = new Date();
    const target = await bundleTarget(bundle, undefined, run, {
      vmId: vm.id,
      epoch: Math.floor(started.getTime() / 1000),
      compression: parseCompression(compress).method,
    });
    return writeBundle(
      target,
      {
        vm,
        started,
        compression: parseCompression(compress),
        disks: [
          {
            id: 0,
            layout: { format: 'raw' },
            virtualSize: disk.virtualSize,
            open: () => Promise.resolve(manyReader(disk)),
          },
        ],
        images: new Map(),
        consistency: { level: 'offline', at: started.toISOString(), frozenMs: 0 },
      },
      run,
    );
  });
}

main().catch((error: unknown) => {
  console.error(`many-extents: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
