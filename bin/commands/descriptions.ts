// All commands, in the order in which --help shows them.
import type { CommandDescription } from './description.ts';
import { cleanupDescription } from './cleanup-options.ts';
import { diffDescription } from './diff-options.ts';
import { exportDescription } from './export-options.ts';
import { extractDescription } from './extract-options.ts';
import { listDescription } from './list-options.ts';
import { restoreDescription } from './restore-options.ts';
import { showDescription } from './show-options.ts';
import { verifyDescription } from './verify-options.ts';

export const commandDescriptions: readonly CommandDescription[] = [
  exportDescription,
  restoreDescription,
  extractDescription,
  listDescription,
  showDescription,
  verifyDescription,
  diffDescription,
  cleanupDescription,
];
