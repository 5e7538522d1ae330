// The kind of undo for the process that watches the free space for scratch files.
import { setTimeout as sleep } from 'node:timers/promises';
import { object } from '../../run/json-object.ts';
import { text } from '../../run/json-shape.ts';
import { isRunningWith, stopProcesses } from '../../run/processes.ts';
import { quote } from '../../run/quote.ts';
import { undoKind } from '../../run/undo.ts';

/** How long the process may take to see to the guest: to end the job, and to resume the guest. */
const endLimitMs = 30_000;
const pollMs = 250;

/** `name` is a word in its command line. It has removed `description` if it has had to end the job. */
const fields = object({ name: text, description: text });

/** Ends the process; if it is seeing to the guest, it is awaited. */
export const stopSpaceWatch = undoKind({
  kind: 'stop-space-watch',
  fields,
  describe: ({ name }) =>
    `a process that watches the free space may still run; end it with: pkill -f -- ${quote(name)}`,
  async carryOut({ name, description }, { runnerAt }, on) {
    const runner = runnerAt(on);
    const isThere = { program: 'test', args: ['-e', description] };
    const doing = `look for ${description}`;
    const { status } = await runner.run(isThere, { doing, acceptStatus: [1] });
    const deadline = performance.now() + endLimitMs;
    while (status === 1 && performance.now() < deadline) {
      if (!(await isRunningWith(runner, ['sh'], name))) return;
      await sleep(pollMs);
    }
    // It is setsid until that has become the shell.
    for (const program of ['setsid', 'sh']) await stopProcesses(runner, program, name);
  },
  whenMachineIsGone: 'ended',
});
