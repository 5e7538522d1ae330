// Daemons, guests and a host in user-mode Linux share two cores with whatever else runs: a test that fails is
// run once more, and its first failure is printed. What is broken fails twice.
import { jest } from '@jest/globals';
import { limits } from '../support/limits.ts';

jest.retryTimes(1, { logErrorsBeforeRetry: true });
jest.setTimeout(limits.labTestMs);
