// Machines and containers that share one state folder: none touches the running export of another. Real PID
// namespaces, and machines that differ by their machine-id, made by unshare(1).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JournalHeader } from '../../lib/run/journal-file.ts';
import { identify } from '../../lib/run/process-identity.ts';
import { makeVm } from '../support/make-vm.ts';
import { runToEnd, type Ended } from '../support/shell.ts';
import { until } from '../support/limits.ts';
import { slowCompressor } from '../support/slow-compressor.ts';
import { makeWorld, type World } from '../support/world.ts';

const onevmdump = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;
const otherId = 'feedfacefeedfacefeedfacefeedface';

/** Programs that run what follows them elsewhere. */
const places = {
  'this place': [],
  'a container with PIDs of its own': ['unshare', '--pid', '--fork', '--mount-proc', '--'],
  'another machine': [
    'unshare',
    '--mount',
    '--',
    'sh',
    '-c',
    'mount --bind "$0" /etc/machine-id && exec "$@"',
  ],
} as const;
type PlaceName = keyof typeof places;

function whyNot(): string | undefined {
  try {
    execFileSync('unshare', [
      '-pf',
      '--mount-proc',
      'mount',
      '--bind',
      '/etc/machine-id',
      '/etc/machine-id',
    ]);
    return undefined;
  } catch (error) {
    return `unshare is not possible here: ${String(error)}`;
  }
}
const reason = whyNot();
if (reason !== undefined) process.stderr.write(`skipped: ${reason}\n`);

let world: World;
let vmId: number;
let compressing: string;
let slow: Awaited<ReturnType<typeof slowCompressor>>;
let machineId: string;
beforeAll(async () => {
  if (reason !== undefined) return;
  world = await makeWorld();
  vmId = await makeVm(world.sandbox, world.one, join(world.folder, 'sources'));
  machineId = join(world.folder, 'machine-id');
  await writeFile(machineId, `${otherId}\n`);
  const bin = join(world.folder, 'slow');
  compressing = join(world.folder, 'compressing');
  await mkdir(bin);
  // An export that compresses by this one is in the middle of its data until there is the second file.
  const line = `touch '${compressing}'; until [ -e '${compressing}.on' ]; do sleep 0.1; done; all | real`;
  slow = await slowCompressor(bin, 'igzip', line);
});
afterAll(async () => {
  if (reason === undefined) await world.close();
});
beforeEach(async () => {
  if (reason !== undefined) return;
  for (const name of [compressing, `${compressing}.on`]) await rm(name, { force: true });
  await rm(world.bundles, { recursive: true, force: true });
  await mkdir(world.bundles);
});

/** Runs the command in a place. */
function run(
  place: PlaceName,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const prefix = place === 'another machine' ? [...places[place], machineId] : places[place];
  const [program = '', ...more] = [...prefix, onevmdump, ...args];
  return runToEnd(program, more, { env: { ...world.env, ...env } });
}

/** An export in a place that is in the middle of its data, until `end` is called. */
async function runningExport(place: PlaceName): Promise<{ end: () => Promise<Ended> }> {
  const ended = run(place, ['export', String(vmId)], slow);
  await until('the disks are read', () => exists(compressing));
  return {
    async end() {
      await writeFile(`${compressing}.on`, '');
      return await ended;
    },
  };
}

/** Leaves what a run in this place leaves that is killed before it removes a file. @returns the file */
async function killedRun(): Promise<string> {
  const file = join(world.folder, 'left-behind');
  await writeFile(file, '');
  const runId = '00112233445566aa';
  const header: JournalHeader = {
    ...{ version: 1, runId, action: 'export', vmId: null, started: '2026-01-01T00:00:00.000Z' },
    process: { ...(await identify('self')), startTime: '1' },
  };
  const lines = [header, { seq: 1, undo: { kind: 'remove-file', path: file } }];
  const path = join(world.folder, 'state/journal', `${runId}.jsonl`);
  await writeFile(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return file;
}

const exists = (path: string) =>
  readFile(path).then(
    () => true,
    () => false,
  );
const isLocked = () => world.sandbox.vmXml(vmId).includes('<LOCKED>');
const stateFiles = async () => [
  ...(await readdir(join(world.folder, 'state/journal'))),
  ...(await readdir(join(world.folder, 'state/claims'))),
];

(reason === undefined ? describe : describe.skip)('with one state folder for all', () => {
  test.each([
    ['this place', 'a container with PIDs of its own'],
    ['a container with PIDs of its own', 'this place'],
    ['a container with PIDs of its own', 'a container with PIDs of its own'],
    ['this place', 'another machine'],
    ['another machine', 'this place'],
  ] as const)(
    'an export that runs in %s is left alone, and named, by cleanup and by the next export in %s',
    async (there, here) => {
      const running = await runningExport(there);
      const before = await stateFiles();
      const cleanup = await run(here, ['cleanup']);
      const next = await run(here, ['export', String(vmId)]);
      const after = [await stateFiles(), isLocked()];
      const { code, stderr } = await running.end();

      expect(cleanup).toMatchObject({ code: 0, stderr: '' });
      expect(cleanup.stdout).toMatch(
        new RegExp(
          `^export of VM ${vmId} \\(.*\\): left alone, it belongs to [^ ]+/\\w+/\\d+; .* cleanup --gone`,
        ),
      );
      expect(next.code).toBe(1);
      expect(next.stderr).toMatch(
        new RegExp(`VM ${vmId} is being exported already, by process .* --gone`),
      );
      expect(after).toEqual([before, true]);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      expect(await readdir(world.bundles)).toHaveLength(1);
      expect(await stateFiles()).toEqual([]);
      expect(isLocked()).toBe(false);
    },
  );

  test('what a container left that was killed is undone here when its name is given as gone', async () => {
    const running = await runningExport('a container with PIDs of its own');
    const cleanup = await run('this place', ['cleanup']);
    const [, place = ''] = / --gone (\S+)/.exec(cleanup.stdout) ?? [];

    // As long as it runs, and can be seen, nobody can say so; then nothing else is undone either.
    const file = await killedRun();
    const refused = await run('this place', ['cleanup', '--gone', place]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/is not gone: its process still runs here, as \d+\n$/);
    expect(await exists(file)).toBe(true);

    const [, pid] = /still runs here, as (\d+)/.exec(refused.stderr) ?? [];
    process.kill(Number(pid), 'SIGKILL');
    await running.end();
    expect(isLocked()).toBe(true);

    const { code, stdout, stderr } = await run('this place', ['cleanup', '--gone', place]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/: undone\n$/) as unknown,
    });
    expect(stderr).toMatch(/not undone, since it was on .*\.tar\.gz\.\w+\.part/);
    expect(isLocked()).toBe(false);
    expect(await exists(file)).toBe(false);
    expect(await stateFiles()).toEqual([]);
  });

  test('an export lock of a machine that left no journal is in the text of cleanup and in its JSON', async () => {
    const { pid, startTime, bootId } = await identify('self');
    const name = `${vmId}.${pid}.${startTime}.${bootId}.${otherId}.1.fe2`;
    await mkdir(join(world.folder, 'state/claims'), { recursive: true });
    await writeFile(join(world.folder, 'state/claims', `${name}.wants`), '');
    const place = `fe2/${otherId}/1`;
    expect((await run('this place', ['cleanup'])).stdout).toContain(
      `export lock of VM ${vmId} (process ${pid}): left alone, it belongs to ${place}`,
    );
    const { stdout } = await run('this place', ['cleanup', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      runs: [],
      exportLocks: [{ vmId, process: { pid, host: 'fe2' }, elsewhere: place }],
    });
    await run('this place', ['cleanup', '--gone', 'fe2']);
    expect(await stateFiles()).toEqual([]);
  });
});
