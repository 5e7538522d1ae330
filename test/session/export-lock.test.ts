// Claims of real processes: never two at once, none lost to a dead one, for root and oneadmin alike.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import {
  BusyElsewhereError,
  BusyError,
  claimVm,
  sweepClaims,
} from '../../lib/session/export-lock.ts';
import { ownPlace } from '../../lib/run/process-identity.ts';

const nobody = 65534;
const isRoot = userInfo().uid === 0;

/** Claims a VM, writes down when it had it, and lets it go after some time, or when stdin ends. */
const program = `
import { claimVm } from './lib/session/export-lock.ts';
import { appendFileSync } from 'node:fs';
const [folder, vm, holdMs, list] = process.argv.slice(2);
const say = (word) => appendFileSync(list, word + ' ' + process.pid + '\\n');
claimVm(folder, Number(vm)).then(async (claim) => {
  say('got');
  await new Promise((resolve) => setTimeout(resolve, Number(holdMs)));
  say('left');
  await claim.release();
}, (error) => { process.stderr.write(error.message); process.exitCode = error.name === 'BusyError' ? 3 : 1; });
`;

let temp: string;
let built: string;
let folder: string;
let list: string;
beforeAll(async () => {
  temp = await mkdtemp(join(tmpdir(), 'onevmdump-claim-'));
  await chmod(temp, 0o755);
  built = join(temp, 'claimer.cjs');
  await build({
    stdin: { contents: program, resolveDir: join(import.meta.dirname, '../..') },
    bundle: true,
    platform: 'node',
    keepNames: true,
    outfile: built,
  });
});
afterAll(() => rm(temp, { recursive: true, force: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(temp, 'state-'));
  list = join(folder, 'list');
  await writeFile(list, '');
  await chmod(list, 0o666);
});

function claimer(holdMs: number, uid?: number): ChildProcess {
  return spawn(process.execPath, [built, folder, '8', String(holdMs), list], {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}

async function claimed(): Promise<void> {
  while (!(await readFile(list, 'utf8')).includes('got')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const claimFiles = () => readdir(join(folder, 'claims')).then((names) => names.sort());

describe('a claim', () => {
  test('an export lock is never held by two of many processes that come at once, and one of them gets it', async () => {
    for (let round = 0; round < 4; round++) {
      await writeFile(list, '');
      const codes = await Promise.all(Array.from({ length: 8 }, () => exitCode(claimer(400))));
      expect(codes.every((code) => code === 0 || code === 3)).toBe(true);
      const words = (await readFile(list, 'utf8')).trim().split('\n');
      // Each that got it left it before the next one got it.
      for (const [index, word] of words.entries()) {
        expect(word.startsWith(index % 2 === 0 ? 'got ' : 'left ')).toBe(true);
        if (index % 2 === 1) expect(word.split(' ')[1]).toBe(words[index - 1]?.split(' ')[1]);
      }
      expect(codes.filter((code) => code === 0)).toHaveLength(words.length / 2);
      expect(words.length).toBeGreaterThan(0);
      expect(await claimFiles()).toEqual([]);
    }
  });

  test('an export lock of a process that was killed does not hold anybody up, and its files go', async () => {
    const child = claimer(60_000);
    await claimed();
    await expect(claimVm(folder, 8)).rejects.toThrow(
      new RegExp(`^VM 8 is being exported already, by process ${child.pid ?? 0}, since 20`),
    );
    child.kill('SIGKILL');
    await exitCode(child);
    expect(await claimFiles()).toHaveLength(2);
    const claim = await claimVm(folder, 8);
    expect((await claimFiles()).every((name) => name.includes(`.${process.pid}.`))).toBe(true);
    await claim.release();
    expect(await claimFiles()).toEqual([]);
  });

  test("an export lock of a process number that is another's by now counts for nothing", async () => {
    await mkdir(join(folder, 'claims'));
    const { bootId, machineId, pidNamespace, host } = await ownPlace();
    const here = `1.${bootId}.${machineId}.${pidNamespace}.${host}`;
    await writeFile(join(folder, 'claims', `8.${process.pid}.${here}.has`), '');
    await writeFile(join(folder, 'claims', `8.${process.ppid}.${here}.wants`), '');
    const claim = await claimVm(folder, 8);
    await claim.release();
    expect(await claimFiles()).toEqual([]);
  });

  test('an export lock of a process on another machine counts, until a person says that the machine is gone', async () => {
    await mkdir(join(folder, 'claims'));
    const name = `8.${process.pid}.1.b00d.${'a'.repeat(32)}.4026531836.fe2.example.org`;
    await writeFile(join(folder, 'claims', `${name}.has`), '');
    const place = `fe2.example.org/${'a'.repeat(32)}/4026531836`;
    await expect(claimVm(folder, 8)).rejects.toThrow(`onevmdump cleanup --gone ${place}`);
    await expect(claimVm(folder, 8)).rejects.toBeInstanceOf(BusyElsewhereError);
    expect(await sweepClaims(folder, undefined, 'fe1')).toMatchObject([{ vmId: 8 }]);
    expect(await sweepClaims(folder, undefined, 'fe2.example.org')).toEqual([]);
    await (await claimVm(folder, 8)).release();
    expect(await claimFiles()).toEqual([]);
  });

  test('an export lock is refused to the process that has it, and leaves other VMs free', async () => {
    const claim = await claimVm(folder, 8);
    await expect(claimVm(folder, 8)).rejects.toBeInstanceOf(BusyError);
    const other = await claimVm(folder, 80);
    await other.release();
    await claim.release();
    await (await claimVm(folder, 8)).release();
  });

  test('an export lock that is given up before its turn leaves no file', async () => {
    const reason = new Error('enough');
    await expect(claimVm(folder, 8, AbortSignal.abort(reason))).rejects.toThrow('enough');
    expect(await claimFiles()).toEqual([]);
  });
});

(isRoot ? describe : describe.skip)("in oneadmin's state folder", () => {
  beforeEach(() => chown(folder, nobody, nobody));

  test("root's export lock, the first ever, keeps oneadmin off while it lives and not afterwards", async () => {
    const child = claimer(60_000);
    await claimed();
    expect(await exitCode(claimer(1, nobody))).toBe(3);
    child.kill('SIGKILL');
    await exitCode(child);
    expect(await exitCode(claimer(1, nobody))).toBe(0);
    expect((await stat(join(folder, 'claims'))).uid).toBe(nobody);
    expect(await claimFiles()).toEqual([]);
  });
});
