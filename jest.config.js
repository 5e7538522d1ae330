export default {
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/test/esbuild-transform.mjs' },
  coverageProvider: 'v8',
  collectCoverageFrom: ['{hooks,drivers,bin,lib}/**/*.ts'],
  // Generous: a loaded machine is no failure. Speed is judged in bench/.
  testTimeout: 240_000,
};
