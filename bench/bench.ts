// `npm run bench`: compares onevmdump with the steps of the older tool and with the compressor alone, on the
// same disk, in turn, in one run. Prints medians of wall time, CPU seconds and peak memory.
//
//   npm run bench -- [--data-mib 2048] [--rounds 3] [--dir /var/tmp] [--svg bench/plot.svg]
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compressionNames } from '../lib/bundle/compression/compressions.ts';
import { runToEnd, sh } from '../test/support/shell.ts';
import { fileVm } from '../test/support/file-vm.ts';
import { startSandbox } from '../test/sandbox/sandbox.ts';
import { makeFileSystem } from './disk.ts';
import { measure, median, type Measured } from './measure.ts';
import { plotSvg } from './plot.ts';

const onevmdump = join(dirname(fileURLToPath(import.meta.url)), '../bin/onevmdump');

interface Side {
  readonly name: string;
  readonly line: string;
  /** Removed before each round. */
  readonly output?: string;
  readonly env?: NodeJS.ProcessEnv;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'data-mib': { type: 'string', default: '2048' },
      rounds: { type: 'string', default: '3' },
      dir: { type: 'string', default: '/var/tmp' },
      svg: { type: 'string' },
    },
  });
  const dataMiB = Number(values['data-mib']);
  const folder = await mkdtemp(join(values.dir, 'onevmdump-bench-'));
  try {
    const medians = await bench(folder, dataMiB, Number(values.rounds));
    print(medians);
    if (values.svg !== undefined) {
      const title = `Median of ${values.rounds} rounds, ${dataMiB} MiB of real files in an 8 GiB disk`;
      await writeFile(values.svg, plotSvg(title, medians));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function bench(folder: string, dataMiB: number, rounds: number): Promise<Median[]> {
  const datastores = join(folder, 'one/datastores');
  const sandbox = await startSandbox({
    dir: join(folder, 'one'),
    safeDirs: folder,
    imageCopyMs: 1,
  });
  const env = {
    ONE_XMLRPC: sandbox.endpoint,
    ONE_AUTH: sandbox.authFile,
    ONEVMDUMP_STATE_DIR: join(folder, 'state'),
    ONEVMDUMP_STAGING_DIR: join(folder, 'staging'),
    ONEVMDUMP_DATASTORE_LOCATION: datastores,
  };
  const cpu = cpus();
  console.log(`${cpu.length} CPUs (${cpu[0]?.model ?? '?'}), Node ${process.version}`);

  const raw = await fileVm(datastores, 1, [{ id: 0, format: 'raw' }]);
  const qcow2 = await fileVm(datastores, 2, [{ id: 0, format: 'qcow2' }]);
  const wide = await fileVm(datastores, 3, [{ id: 0, format: 'raw' }]);
  await makeFileSystem(raw.path(0), { virtualMiB: 8192, dataMiB });
  await sh('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw.path(0), qcow2.path(0));
  await sh('cp', '--sparse=always', raw.path(0), wide.path(0));
  await sh('truncate', '-s', '20G', wide.path(0));
  const allocated = (await stat(raw.path(0))).blocks * 512;
  console.log(`disk: 8 GiB virtual, ${Math.round(allocated / 1024 ** 2)} MiB of real files\n`);

  const xmlFile = async (name: string, xml: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, xml);
    return path;
  };
  const [rawXml, qcow2Xml, wideXml] = [
    await xmlFile('raw.xml', raw.xml),
    await xmlFile('qcow2.xml', qcow2.xml),
    await xmlFile('wide.xml', wide.xml),
  ];
  const bundle = join(folder, 'bundle.tar.gz');
  const staging = join(folder, 'classic');
  await mkdir(staging);
  const data = join(folder, 'data.bin');
  await writeDataOnly(raw.path(0), data);

  const exportLine = (xml: string, more = ''): string =>
    `${onevmdump} export --stdin -L -d ${bundle} ${more} < ${xml}`;
  const classic = (step: string): string =>
    `cd ${staging} && ${step} && cp ${rawXml} vm.xml && tar -czSf ${bundle} . && rm -f *`;
  const sides: Side[] = [
    { name: 'igzip -1, the same bytes', line: `igzip -1 -c < ${data} > /dev/null` },
    { name: 'export, raw, gzip', line: exportLine(rawXml), output: bundle, env },
    { name: 'export, qcow2, gzip', line: exportLine(qcow2Xml), output: bundle, env },
    ...compressionNames
      .filter((name) => name !== 'gzip')
      .map((name) => ({
        name: `export, raw, ${name}`,
        line: exportLine(rawXml, `--compress ${name}`),
        output: bundle,
        env,
      })),
    { name: 'export, 20 GiB virtual', line: exportLine(wideXml), output: bundle, env },
    {
      name: 'older steps, raw: cp, tar -czS',
      line: classic(`cp --sparse=always ${raw.path(0)} backup.disk.0`),
      output: bundle,
    },
    {
      name: 'older steps, qcow2: convert, tar -czS',
      line: classic(`qemu-img convert -O qcow2 ${qcow2.path(0)} backup.disk.0`),
      output: bundle,
    },
  ];
  const results = await inTurn(sides, rounds);

  // Restore and verify need a bundle that stays.
  const kept = join(folder, 'kept.tar.gz');
  const made = await runToEnd(onevmdump, ['export', '--stdin', '-L', '-d', kept], {
    env: { ...process.env, ...env },
    input: await readFile(rawXml),
  });
  if (made.code !== 0) throw new Error(made.stderr);
  const reading: Side[] = [
    { name: 'verify, raw, gzip', line: `${onevmdump} verify ${kept}`, env },
    {
      name: 'restore, raw, gzip (with the datastore copying)',
      line: `${onevmdump} restore ${kept} --disk 0`,
      env,
    },
    {
      name: 'tar -xzf of the same bundle',
      line: `tar -xzf ${kept} -C ${staging} && rm -rf ${staging}/*`,
    },
  ];
  const medians = [...results, ...(await inTurn(reading, rounds))].map(medianOf);
  await sandbox.stop();
  return medians;
}

/** Runs every side once, then every side again, so that other load of the machine affects all sides alike. */
async function inTurn(
  sides: readonly Side[],
  rounds: number,
): Promise<{ name: string; runs: Measured[] }[]> {
  const results = sides.map(({ name }) => ({ name, runs: [] as Measured[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [index, { line, output, env }] of sides.entries()) {
      if (output !== undefined) await rm(output, { force: true });
      results[index]?.runs.push(await measure(line, env));
    }
  }
  return results;
}

interface Median extends Measured {
  readonly name: string;
}

function medianOf({ name, runs }: { name: string; runs: readonly Measured[] }): Median {
  const of = (pick: (run: Measured) => number): number => median(runs.map(pick));
  return {
    name,
    seconds: of((run) => run.seconds),
    cpuSeconds: of((run) => run.cpuSeconds),
    peakMiB: of((run) => run.peakMiB),
  };
}

/** Prints a table in Markdown, as in bench/README.md. */
function print(medians: readonly Median[]): void {
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((cell, index) => (index === 0 ? cell.padEnd(50) : cell.padStart(8))).join(' | ')} |`;
  console.log(row(['side', 'seconds', 'CPU s', 'peak MiB']));
  console.log(row(['-'.repeat(50), ...Array.from({ length: 3 }, () => '-'.repeat(8))]));
  for (const { name, seconds, cpuSeconds, peakMiB } of medians) {
    console.log(row([name, seconds.toFixed(2), cpuSeconds.toFixed(2), peakMiB.toFixed(0)]));
  }
}

/** Writes only the allocated bytes of a sparse file: what any tool has to compress. */
async function writeDataOnly(disk: string, target: string): Promise<void> {
  const map = JSON.parse(await sh('qemu-img', 'map', '--output=json', '-f', 'raw', disk)) as {
    start: number;
    length: number;
    data: boolean;
  }[];
  await writeFile(target, '');
  for (const { start, length, data } of map) {
    if (!data) continue;
    const range = `skip=${start} count=${length} iflag=skip_bytes,count_bytes`;
    await sh('bash', '-c', `dd if='${disk}' ${range} bs=1M status=none >> '${target}'`);
  }
}

main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
