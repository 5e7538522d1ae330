// What `onehost sync` carries to every host: all of ours below remotes/.
import { expect, test } from '@jest/globals';
import { sh } from '../support/shell.ts';

const dist = new URL('../../dist', import.meta.url).pathname;

test('everything that OpenNebula copies to hosts is below 5 MB', async () => {
  const counted = await sh('du', '-sbc', `${dist}/hooks`, `${dist}/drivers`);
  const bytes = Number(/^(\d+)\ttotal$/m.exec(counted)?.[1]);
  expect(bytes).toBeGreaterThan(1_000_000);
  expect(bytes).toBeLessThan(5_000_000);
});
