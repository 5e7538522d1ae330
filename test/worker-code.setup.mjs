// Tests run the sources, so the program of the worker threads is built when a test first starts one.
import { buildWorker } from '../scripts/worker-code.mjs';

let code;
Object.defineProperty(globalThis, 'ONEVMDUMP_WORKER', {
  configurable: true,
  get: () => (code ??= buildWorker()),
});
