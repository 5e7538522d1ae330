// What a VM's owner may ask of the export hook in the user template.
import { describe, expect, test } from '@jest/globals';
import { isToBeExported, keepCount } from '../../lib/hook/owner-settings.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';

const lines: string[] = [];
const warn = (text: string) => void lines.push(text);
const log = { debug: () => undefined, info: () => undefined, error: () => undefined, warn };

/** VM 8 with a user template. */
function vmWith(userTemplate: string) {
  return parseVm(
    Buffer.from(
      `<VM><ID>8</ID><NAME>web</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/><USER_TEMPLATE>${userTemplate}</USER_TEMPLATE></VM>`,
    ),
  );
}

function wanted(userTemplate: string, hookVms: 'marked' | 'all' = 'marked') {
  lines.length = 0;
  return isToBeExported(vmWith(userTemplate), { hookVms }, log);
}

function kept(text: string | undefined, hookKeepLast = 3, hookKeepLastMax = 20): number {
  lines.length = 0;
  const one = text === undefined ? '' : `<ONEVMDUMP_KEEP_LAST>${text}</ONEVMDUMP_KEEP_LAST>`;
  return keepCount(vmWith(one), { hookKeepLast, hookKeepLastMax }, log);
}

describe('the mark of a VM', () => {
  test.each([
    ['YES', true],
    [' yes\n', true],
    ['Yes', true],
    ['NO', false],
    ['', false],
  ])('the mark %j of a VM decides without a warning whether the hook exports it', (text, is) => {
    expect(wanted(`<ONEVMDUMP_EXPORT>${text}</ONEVMDUMP_EXPORT>`)).toBe(is);
    expect(lines).toEqual([]);
  });

  test.each(['1', 'true', 'YES YES'])(
    'the mark %j of a VM is treated as NO, and a warning says so',
    (text) => {
      expect(wanted(`<ONEVMDUMP_EXPORT>${text}</ONEVMDUMP_EXPORT>`)).toBe(false);
      expect(lines).toEqual([
        `VM 8: ONEVMDUMP_EXPORT = "${text}" is neither YES nor NO and is treated as NO`,
      ]);
    },
  );

  test('two marks of a VM that differ count as NO, since neither is the right one', () => {
    const two = '<ONEVMDUMP_EXPORT>YES</ONEVMDUMP_EXPORT><ONEVMDUMP_EXPORT>NO</ONEVMDUMP_EXPORT>';
    expect(wanted(two)).toBe(false);
    expect(lines[0]).toContain('"YES, NO" is neither');
  });

  test('a hook for all VMs does not look at the mark of a VM', () => {
    expect(wanted('<ONEVMDUMP_EXPORT>NO</ONEVMDUMP_EXPORT>', 'all')).toBe(true);
  });

  test('a long mark of a VM is cut in the warning, and cannot write lines of its own into the log', () => {
    wanted(`<ONEVMDUMP_EXPORT>${'x'.repeat(30)}\n${'y'.repeat(1000)}</ONEVMDUMP_EXPORT>`);
    expect(lines[0]?.length).toBeLessThan(150);
    expect(lines[0]).not.toContain('\n');
  });
});

describe('how many bundles of a VM are kept', () => {
  test('as many bundles of a VM are kept as configured where its owner says nothing', () => {
    expect([kept(undefined), kept(''), lines]).toEqual([3, 3, []]);
  });

  test('the owner of a VM may ask for more or fewer bundles, up to the limit', () => {
    expect([kept('1'), kept('20'), lines]).toEqual([1, 20, []]);
  });

  test('the owner of a VM who asks for more bundles than the limit gets the limit, with a warning', () => {
    expect(kept('21')).toBe(20);
    expect(lines[0]).toMatch(/is more than HOOK_KEEP_LAST_MAX; 20 are kept$/);
  });

  test.each(['0', '-1', '1.5', '1e3', '0x10', 'all', '1 2', '1'.repeat(12)])(
    'the number %j of bundles to keep is not guessed at: what is configured holds, with a warning',
    (text) => {
      expect(kept(text)).toBe(3);
      expect(lines[0]).toMatch(
        /is not a number of at least 1; as configured, the last 3 are kept$/,
      );
      expect(kept(text, 0)).toBe(0);
      expect(lines[0]).toMatch(/as configured, all are kept$/);
    },
  );
});
