// Reads jest's JSON report and prints its one closing line. Fails when a test failed, when a test
// file could not run, or when nothing was tested.
import { readFileSync } from 'node:fs';

let report;
try {
  report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
} catch {
  console.error('jest ended without a report');
  report = { numPassedTests: 0, numFailedTests: 0, numRuntimeErrorTestSuites: 1 };
}
const passed = report.numPassedTests;
const failed = report.numFailedTests + report.numRuntimeErrorTestSuites;
const skipped = (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
