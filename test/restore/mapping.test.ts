import { describe, expect, test } from '@jest/globals';
import { matchMappings, parseMappings } from '../../lib/restore/mapping.ts';

const words = { option: '--map-network', what: 'network' };
const objects = [
  { id: 0, name: 'net1' },
  { id: 3, name: '0' },
];

describe('OLD=NEW', () => {
  test.each(['', 'a', '=b', 'a=', ' = '])('the mapping %j is refused', (text) => {
    expect(() => parseMappings([text], '--map-network')).toThrow('--map-network takes OLD=NEW');
  });

  test('a mapping OLD=NEW may have blanks around its words and = in the new name', () => {
    expect(parseMappings(['my net = b=c'], '-')).toEqual([{ from: 'my net', to: 'b=c' }]);
  });

  test('a mapping OLD=NEW means the object of that name, else the one with that id', () => {
    const [byName, byId] = parseMappings(['0=x', '0=y'], '-');
    expect(matchMappings([byName!], objects, words)).toEqual(new Map([[3, byName]]));
    expect(matchMappings([byId!], objects.slice(0, 1), words)).toEqual(new Map([[0, byId]]));
  });

  test('a mapping OLD=NEW of what the bundle does not have is refused with what it has', () => {
    expect(() => matchMappings(parseMappings(['web=1'], '-'), objects, words)).toThrow(
      '--map-network: the VM in the bundle has no network "web" (it has: 0 (net1), 3 (0))',
    );
  });

  test('a mapping OLD=NEW of one object twice is refused', () => {
    const twice = parseMappings(['net1=1', 'net1=2'], '-');
    expect(() => matchMappings(twice, objects, words)).toThrow('network 0 of the bundle is mapped');
  });
});
