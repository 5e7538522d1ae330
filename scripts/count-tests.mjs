// Reads jest's JSON reports and prints the closing line. Fails if a test failed, if a test file could not run, or if a
// report is missing or has no test. For a report chosen-*, only some tests were selected: jest reports the others as
// skipped, and they are not counted. If none of the selected tests ran, that is a failure.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

const sum = { passed: 0, failed: 0, skipped: 0 };
const files = process.argv.slice(2);
for (const file of files) {
  let report;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    console.error('jest ended without a report');
    report = { numPassedTests: 0, numFailedTests: 0, numRuntimeErrorTestSuites: 1 };
  }
  sum.passed += report.numPassedTests;
  sum.failed += report.numFailedTests + report.numRuntimeErrorTestSuites;
  if (basename(file).startsWith('chosen-')) {
    if (report.numPassedTests + report.numFailedTests === 0) {
      console.error(`no test was chosen for ${basename(file)}`);
      sum.failed += 1;
    }
    continue;
  }
  sum.skipped += (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0);
}
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
