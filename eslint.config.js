import js from '@eslint/js';
import tseslint from 'typescript-eslint';
import { importOrderRule } from './scripts/import-order.mjs';

/** Each dependency has one home: the folder whose business it is. */
const homes = {
  execa: 'lib/run/',
  'fast-xml-parser': 'lib/xml/',
  xmlrpc: 'lib/one/',
  tar: 'lib/bundle/',
  yargs: 'bin/',
  'cli-progress': 'lib/report/',
};

function fence(allowed) {
  const banned = Object.keys(homes).filter((name) => !allowed.includes(name));
  return {
    'no-restricted-imports': [
      'error',
      {
        patterns: banned.map((name) => ({
          group: [name, `${name}/*`],
          message: `${name} is imported in ${homes[name]} only.`,
        })),
      },
    ],
  };
}

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'node_modules/', 'test/fixtures/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-shadow': ['error', { hoist: 'functions' }],
      eqeqeq: 'error',
      'no-console': 'error',
    },
  },
  { files: ['bin/**', 'hooks/**', 'drivers/**', 'lib/**'], rules: fence([]) },
  {
    files: ['bin/**', 'hooks/**', 'drivers/**', 'lib/**'],
    plugins: { house: { rules: { 'import-order': importOrderRule } } },
    rules: { 'house/import-order': 'error' },
  },
  ...Object.entries(homes).map(([name, home]) => ({
    files: [`${home}**`],
    rules: fence(Object.keys(homes).filter((other) => homes[other] === home || other === name)),
  })),
  {
    files: ['lib/**', 'hooks/**', 'drivers/**', 'bin/**'],
    ignores: ['lib/entrypoint.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'exit',
          message: 'Only lib/entrypoint.ts ends the process.',
        },
      ],
    },
  },
  {
    files: ['lib/**', 'hooks/**', 'drivers/**', 'bin/**'],
    // A journal may end in half a line.
    ignores: ['lib/run/json-shape.ts', 'lib/run/journal-file.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='JSON'][property.name='parse']",
          message: 'JSON from outside is read by a shape: lib/run/json-shape.ts.',
        },
      ],
    },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly' } },
  },
  {
    files: ['test/**', 'bench/**', 'scripts/**'],
    rules: { 'no-console': 'off', '@typescript-eslint/no-non-null-assertion': 'off' },
  },
);
