export default {
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/test/esbuild-transform.mjs' },
  coverageProvider: 'v8',
  collectCoverageFrom: ['{hooks,drivers,bin,lib}/**/*.ts'],
  setupFiles: ['<rootDir>/test/worker-code.setup.mjs'],
  setupFilesAfterEnv: ['<rootDir>/test/limit.setup.ts'],
};
