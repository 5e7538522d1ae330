import { describe, expect, test } from '@jest/globals';
import type { Section } from '../../lib/vm/attribute-rules.ts';
import { attributeTable } from '../../lib/vm/template-attributes.ts';

const sections = Object.entries<Section>(attributeTable);

describe('the table of attributes', () => {
  test.each(sections)(
    'the table of attributes names each attribute of %s once, with a reason and a source',
    (_, { rules }) => {
      const names = rules.flatMap((rule) => rule.names);
      expect(names).toEqual([...new Set(names)]);
      for (const { reason, source } of rules) {
        expect(reason).not.toBe('');
        expect(source).toMatch(/^(src|share|include)\//);
      }
    },
  );
});
