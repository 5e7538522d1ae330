import { describe, expect, test } from '@jest/globals';
import { FreeNames, requireValidName, type TakenNames } from '../../lib/restore/names.ts';

const none: TakenNames = { templates: new Map(), images: new Map() };

describe('the names of a restore', () => {
  test.each([
    '&',
    '|',
    ':',
    '\\',
    '"',
    ';',
    '/',
    "'",
    '#',
    '{',
    '}',
    '$',
    '<',
    '>',
    '\t',
    '\n',
    '\r',
  ])(
    'the names of a restore are refused when they hold %j, as OpenNebula refuses them',
    (character) => {
      expect(() => requireValidName(`a${character}b`, [0])).toThrow(
        'which OpenNebula allows in no',
      );
    },
  );

  test('the names of a restore are refused when they are empty', () => {
    expect(() => requireValidName('', [])).toThrow('must not be empty');
  });

  test('the names of a restore may have 128 bytes, with the ending of the longest image name', () => {
    const longest = 128 - '-disk-10'.length;
    expect(() => requireValidName('n'.repeat(longest), [0, 10])).not.toThrow();
    expect(() => requireValidName('n'.repeat(longest + 1), [0, 10])).toThrow(
      '-disk-10" has 129 bytes, and OpenNebula allows 128',
    );
    expect(() => requireValidName('n'.repeat(128), [])).not.toThrow();
    // Bytes count, not letters.
    expect(() => requireValidName('ü'.repeat(65), [])).toThrow('has 130 bytes');
  });

  test('the names of a restore are numbered when the default name is taken by a template or an image', () => {
    const taken = {
      templates: new Map([['backup-8', 3]]),
      images: new Map([['backup-8-2-disk-1', 9]]),
    };
    const names = new FreeNames(undefined, 'backup-8', [0, 1], taken);
    expect([names.next(), names.next()]).toEqual(['backup-8-3', 'backup-8-4']);
  });

  test('the names of a restore that the user asked for are tried once, and refused when they are taken', () => {
    const names = new FreeNames('web', 'backup-8', [0], none);
    expect(names.next()).toBe('web');
    // Somebody else has registered it since.
    expect(() => names.next()).toThrow('the name web is taken by a template');
    const taken = { ...none, images: new Map([['web-disk-0', 7]]) };
    expect(() => new FreeNames('web', 'backup-8', [0], taken).next()).toThrow(
      'the name web is taken by the image 7 (web-disk-0)',
    );
  });
});
