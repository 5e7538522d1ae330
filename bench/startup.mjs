// `npm run bench:startup`: how long the export hook takes for a VM that is not marked, which is what it
// mostly does, against Node with an empty program. In turn, so that a busy machine slows both alike.
// Ends with 1 when the hook takes more than 1.6 times as long.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

const rounds = 40;
const most = 1.6;
const hook = new URL('../dist/hooks/export', import.meta.url).pathname;
const input = readFileSync(
  new URL('../test/fixtures/hooks/state-poweroff.stdin', import.meta.url).pathname,
);

const folder = mkdtempSync(join(tmpdir(), 'onevmdump-startup-'));
const empty = join(folder, 'empty');
writeFileSync(empty, '#!/usr/bin/env node\n', { mode: 0o755 });
const env = { PATH: process.env.PATH, HOME: folder, ONEVMDUMP_CONFIG: '/dev/null' };

/** Milliseconds: wall time, and CPU time of the process and its children. */
function once(program) {
  const { user, system } = childCpu();
  const started = performance.now();
  const { status, stderr } = spawnSync(program, { input, env });
  const wall = performance.now() - started;
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr}`);
  const after = childCpu();
  return { wall, cpu: after.user + after.system - user - system };
}

/** Clock ticks (of 10 ms) of waited-for children: fields 16 and 17 of /proc/self/stat, proc(5). */
function childCpu() {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ');
  return { user: Number(fields[13]) * 10, system: Number(fields[14]) * 10 };
}

const figures = { empty: [], hook: [] };
for (let round = 0; round < rounds; round++) {
  figures.empty.push(once(empty));
  figures.hook.push(once(hook));
}
rmSync(folder, { recursive: true });

const sorted = (side, key) => figures[side].map((one) => one[key]).sort((a, b) => a - b);
const median = (side, key) => sorted(side, key)[rounds / 2];
const sum = (side, key) => sorted(side, key).reduce((one, other) => one + other, 0);
for (const side of ['empty', 'hook']) {
  console.log(
    `${side.padEnd(6)} median ${median(side, 'wall').toFixed(0)} ms, best ${sorted(side, 'wall')[0].toFixed(0)} ms, CPU ${(sum(side, 'cpu') / rounds).toFixed(0)} ms`,
  );
}
const ratio = median('hook', 'wall') / median('empty', 'wall');
console.log(
  `hook / empty: ${ratio.toFixed(2)} by the medians, ${(sum('hook', 'cpu') / sum('empty', 'cpu')).toFixed(2)} by CPU time; at most ${most}`,
);
if (ratio > most) process.exitCode = 1;
