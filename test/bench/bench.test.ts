// The benchmark itself, with little data: all its sides, and that it finds wrong results.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireUnpacks } from '../../bench/our-sides.ts';
import { ratiosOf, withSection, type BenchReport } from '../../bench/report.ts';
import { inTurn, type SideFigures } from '../../bench/side.ts';
import { until } from '../support/limits.ts';
import { runToEnd, sh } from '../support/shell.ts';

const bench = new URL('../../dist/bench/bench', import.meta.url).pathname;
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-bench-test-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the benchmark', () => {
  test('the benchmark runs every side, finds that each has made the same disk again, and reports its figures', async () => {
    const [json, document] = [join(folder, 'figures.json'), join(folder, 'README.md')];
    await writeFile(document, 'before\n<!-- speed -->\nold\n<!-- /speed -->\nafter\n');
    const dir = join(folder, 'work');
    await sh('mkdir', dir);
    const args = ['--data-mib', '12', '--virtual-mib', '64', '--rounds', '1', '--dir', dir];
    const files = ['--svg', folder, '--json', json, '--markdown', document];
    const { code, stdout, stderr } = await runToEnd(bench, [...args, ...files]);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });

    const report = JSON.parse(await readFile(json, 'utf8')) as BenchReport;
    expect(report.sides.map(({ id }) => id)).toEqual([
      'igzip',
      'igzip-cores',
      'igunzip',
      'igunzip-cores',
      'export-raw-gzip',
      'export-qcow2-gzip',
      'export-raw-zstd',
      'export-raw-none',
      'export-wide',
      'verify',
      'extract',
      'restore-staged',
      'restore-fetched',
      'convert-zstd',
      'older-raw',
      'older-qcow2',
      'restic',
    ]);
    for (const { rounds, seconds } of report.sides) {
      expect(rounds).toHaveLength(1);
      expect(seconds.least).toBeGreaterThan(0);
    }
    const [exported, extracted] = ['export-raw-none', 'extract'].map((id) =>
      report.sides.find((side) => side.id === id),
    );
    // About 12 MiB of files, and what the file system needs for itself.
    expect(exported?.outputMB).toBeGreaterThan(11);
    expect(extracted?.outputMB).toBeGreaterThan(11);
    expect(exported?.peakMB.most).toBeGreaterThan(20);
    expect(report.ratios.map(({ name }) => name)).toEqual([
      'seconds of export-raw-gzip / igzip',
      'seconds of verify / igunzip',
      'seconds of extract / igunzip',
      'most memory of an export, verify or restore, MB',
    ]);
    for (const { name } of report.sides) expect(stdout).toContain(`| ${name}`);
    const written = await readFile(document, 'utf8');
    expect(written).toMatch(/^before\n<!-- speed -->\n\n[^]*\n<!-- \/speed -->\nafter\n$/);
    expect(written).toContain(stdout.trim());
    expect(await readFile(join(folder, 'speed.svg'), 'utf8')).toContain('restic');
    expect(await readdir(dir)).toEqual([]);
  });

  test('the benchmark measures the growth over the data, and has an earlier run beside a new one', async () => {
    const json = join(folder, 'growth.json');
    const few = ['--rounds', '1', '--dir', folder, '--svg', folder];
    const grown = await runToEnd(bench, ['--growth', '4,8', ...few, '--json', json]);
    expect({ code: grown.code, stderr: grown.code === 0 ? '' : grown.stderr }).toEqual({
      code: 0,
      stderr: '',
    });
    const { sizes } = JSON.parse(await readFile(json, 'utf8')) as {
      sizes: { dataMB: number; sides: SideFigures[] }[];
    };
    expect(sizes.map(({ sides }) => sides.map(({ id }) => id))).toEqual(
      Array.from({ length: 2 }, () => ['igzip', 'igunzip', 'export-raw-gzip', 'verify', 'extract']),
    );
    expect(sizes[1]?.dataMB).toBeGreaterThan(sizes[0]?.dataMB ?? Infinity);
    expect(await readFile(join(folder, 'growth.svg'), 'utf8')).toContain('>export-raw-gzip</text>');

    const small = ['--data-mib', '4', '--virtual-mib', '16', '--only', 'igzip'];
    const more = ['--rounds', '3', '--dir', folder, '--svg', folder];
    const first = join(folder, 'first.json');
    await runToEnd(bench, [...small, ...more, '--json', first]);
    const second = await runToEnd(bench, [...small, ...more, '--before', first]);
    const report = JSON.parse(await readFile(first, 'utf8')) as BenchReport;
    expect(report.sides[0]?.rounds).toHaveLength(3);
    const was = report.sides[0]?.seconds.median.toFixed(2) ?? 'none';
    expect(second.stdout).toMatch(/\| seconds +\| before +\|/);
    expect(second.stdout).toMatch(
      new RegExp(
        `igzip -1 of the same bytes, one process +\\| [\\d.]+(?: \\([\\d.]+-[\\d.]+\\))? +\\| ${was} +\\|`,
      ),
    );
  });

  test('a benchmark that is ended by a signal leaves none of its files', async () => {
    const dir = join(folder, 'ended');
    await sh('mkdir', dir);
    const words = ['--data-mib', '16', '--virtual-mib', '64', '--rounds', '1000', '--dir', dir];
    const ended = runToEnd(bench, [...words, '--only', 'extract', '--svg', folder], {
      started: (pid) => {
        void until(
          'its folder is there',
          async () => (await readdir(dir, { recursive: true })).length > 1,
        ).then(() => process.kill(pid, 'SIGTERM'));
      },
    });
    expect((await ended).code).toBe(1);
    expect(await readdir(dir)).toEqual([]);
  });

  test('the benchmark refuses a number that is none, and a word that no side has', async () => {
    const bad = await runToEnd(bench, ['--rounds', '0']);
    expect([bad.code, bad.stderr]).toEqual([
      1,
      'bench: --rounds is to be a number above 0, not 0\n',
    ]);
    const few = ['--data-mib', '4', '--virtual-mib', '16', '--rounds', '1', '--dir', folder];
    const none = await runToEnd(bench, [...few, '--only', 'tape']);
    expect([none.code, none.stderr]).toEqual([1, "bench: no side's id contains tape\n"]);
  });

  test('the benchmark fails when what a side has made is not what it must be', async () => {
    const disk = join(folder, 'disk.raw');
    const bundle = join(folder, 'wrong.tar.gz');
    const script = `head -c 100000 /dev/urandom > disk.raw; cp disk.raw backup.disk.0; printf X | dd of=backup.disk.0 bs=1 seek=5000 conv=notrunc status=none; tar -czSf wrong.tar.gz backup.disk.0`;
    await sh('bash', '-c', `cd '${folder}' && ${script}`);
    await expect(requireUnpacks(bundle, disk, 'raw')).rejects.toThrow(/qemu-img compare/);
    const side = { id: 'wrong', name: 'wrong', line: 'true' };
    const check = (): Promise<void> => requireUnpacks(bundle, disk, 'raw');
    await expect(inTurn([{ ...side, check }], 1)).rejects.toThrow(/qemu-img compare/);
    await expect(inTurn([{ ...side, line: 'exit 4' }], 1)).rejects.toThrow('ended with 4');
  });

  test('a side that is slow runs in the first rounds only, and is checked after its last one', async () => {
    const file = join(folder, 'rounds');
    const checked: string[] = [];
    const check = async (): Promise<unknown> => checked.push(await readFile(file, 'utf8'));
    const side = (id: string) => ({ id, name: id, line: `printf ${id} >> '${file}'` });
    const [slow, fast] = await inTurn([{ ...side('s'), mostRounds: 2, check }, side('f')], 4);
    expect([slow?.rounds.length, fast?.rounds.length]).toEqual([2, 4]);
    expect(checked).toEqual(['sfs']);
    expect(await readFile(file, 'utf8')).toBe('sfsfff');
  });

  test('a target is met by the ratio of medians and by the most memory of all rounds', () => {
    const figures = (id: string, seconds: number, peakMB: number): SideFigures => {
      const all = (median: number) => ({ median, least: median / 2, most: median * 2 });
      const rounds = [{ seconds, cpuSeconds: seconds, peakMB }];
      return {
        ...{ id, name: id, rounds },
        ...{ seconds: all(seconds), cpuSeconds: all(seconds), peakMB: all(peakMB) },
      };
    };
    const ratios = ratiosOf([
      figures('igzip', 2, 500),
      figures('export-raw-gzip', 1.9, 100),
      figures('igunzip', 1, 5),
      figures('verify', 0.8, 126),
    ]);
    expect(ratios.map(({ value, met }) => [value, met])).toEqual([
      [0.95, true],
      [0.8, false],
      [252, false],
    ]);
  });

  test('a document without marks for the figures is refused', () => {
    expect(() => withSection('# Benchmarks\n', 'speed', 'text')).toThrow(/no marks/);
  });
});
