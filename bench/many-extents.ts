// `npm run bench:many-extents`: a disk of 16 TiB with millions of extents is exported, shown and verified, and one region restored. Prints
// time for each extent, and memory. The disk exists nowhere (many-disk.ts); everything else is as in a real export.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { ManyDisk } from './many-disk.ts';
import { exportDisk, restoreRegion } from './many-work.ts';
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
      // The same for the region to restore: the bundle.
      region: { type: 'string' },
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
  if (values.region !== undefined)
    return restoreRegion(disk, values.region, `${values.region}.region`);
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
    { name: 'restore of one region', line: `'${self}' ${words} --region '${bundle}'` },
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

main().catch((error: unknown) => {
  console.error(`many-extents: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
