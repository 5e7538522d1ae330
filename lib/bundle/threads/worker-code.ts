// The program of the worker threads as text. The command is one file, and OpenNebula's actions share parts, so a worker
// cannot be a file that has to be found. scripts/worker-code.mjs makes the text from worker.ts: for the built programs at
// build time, for tests when it is asked for.

declare global {
  var ONEVMDUMP_WORKER: string | undefined;
}

/** @throws Error when the program was built without it */
export function workerCode(): string {
  const code = globalThis.ONEVMDUMP_WORKER;
  if (code === undefined) throw new Error('this program was built without its worker threads');
  return code;
}
