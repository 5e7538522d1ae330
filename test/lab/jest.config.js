// Tests with real components: they start labs, so they are not part of the quick run.
import base from '../../jest.config.js';

export default {
  ...base,
  rootDir: '../..',
  testMatch: ['<rootDir>/test/lab/**/*.lab.ts'],
  setupFilesAfterEnv: ['<rootDir>/test/lab/retry.ts'],
  // The labs are there once for all tests.
  maxWorkers: 1,
};
