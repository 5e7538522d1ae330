// Jest runs this before each test file of the quick part: limits.ts says how long a test may take.
import { jest } from '@jest/globals';
import { limits } from './support/limits.ts';

jest.setTimeout(limits.testMs);
