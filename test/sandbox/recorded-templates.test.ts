// Templates that were given to real oned: the stand-in of the same release must make the same of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { NewNetwork } from './networks.ts';
import { startRules } from './rules.ts';
import type { Rules } from './rules.ts';
import type { Template } from './template.ts';
import type { Vm } from './vm.ts';

type Attributes = readonly (readonly [string, string | Readonly<Record<string, string>>])[];

interface Answer {
  readonly user: 'oneadmin' | 'bob';
  readonly template: string;
  readonly error?: string;
  readonly TEMPLATE?: Attributes;
  readonly USER_TEMPLATE?: Attributes;
}

interface Recording {
  readonly networks: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly answers: readonly Answer[];
}

const ranges: Readonly<Record<string, NewNetwork['ranges']>> = {
  plain: [{ id: 0, type: 'IP4', ip: '10.9.0.10', size: 100 }],
  filtered: [{ id: 0, type: 'IP4', ip: '10.9.1.10', size: 100 }],
  dual: [
    {
      ...{ id: 0, type: 'IP4_6', ip: '10.9.2.10', size: 100 },
      ...{ globalPrefix: '2001:db8:9:0', ulaPrefix: 'fd00:9:0:0' },
    },
  ],
};

const leftOut = ['DISK', 'TEMPLATE_ID', 'VMID'];

function comparable(template: Template, vm: Vm, idOf: ReadonlyMap<string, string>): Attributes {
  const shown = (key: string, text: string): string => {
    if (key === 'NETWORK_ID') return [...idOf].find(([, id]) => id === text)?.[0] ?? text;
    if (text === vm.name) return '{name}';
    return text
      .replace(`one-${vm.id}-`, 'one-{vm}-')
      .replace(RegExp(`^${vm.id}-0-0-`), '{vm}-0-0-');
  };
  return template
    .all()
    .filter(({ name }) => !leftOut.includes(name))
    .map(({ name, value }) => {
      if (typeof value === 'string') return [name, value];
      const kept = [...value].filter(([key]) => !['UUID', 'BRIDGE', 'VN_MAD'].includes(key));
      return [name, Object.fromEntries(kept.map(([key, text]) => [key, shown(key, text)]))];
    });
}

describe.each(['6.10.5', '7.4.0'])('OpenNebula %s', (version) => {
  const file = join(import.meta.dirname, `../fixtures/templates/oned-${version}.json`);
  const recording = JSON.parse(readFileSync(file, 'utf8')) as Recording;
  const idOf = new Map<string, string>();
  let rules: Rules;
  let bob: string;

  beforeAll(async () => {
    rules = await startRules(version);
    bob = await rules.sandbox.addUser('bob');
    for (const [name, attributes] of Object.entries(recording.networks)) {
      const id = rules.sandbox.addNetwork({ name, attributes, ranges: ranges[name] ?? [] });
      idOf.set(`{${name}}`, String(id));
    }
    const image = await rules.sandbox.makeImage({
      ...{ name: 'tiny', file: rules.file, format: 'raw', template: 'DEV_PREFIX=vd' },
    });
    rules.sandbox.world.images.get(image)!.permissions = '110000100';
    idOf.set('{tiny}', String(image));
  });

  afterAll(async () => {
    await rules.stop();
  });

  const fill = (text: string): string =>
    [...idOf].reduce((filled, [name, id]) => filled.replaceAll(name, id), text);

  test.each(recording.answers.map((answer) => [answer.user, answer.template, answer] as const))(
    `the stand-in of OpenNebula ${version} makes of a template of %s what oned made of it: %j`,
    async (user, template, answer) => {
      const made = await rules.instantiate(
        fill(template),
        user === 'bob' ? bob : rules.sandbox.authFile,
      );
      if (answer.error !== undefined) {
        expect(made.replace(/VM \d+ has/, 'VM {vm} has')).toBe(fill(answer.error));
        return;
      }
      expect(made).toMatch(/^\d+$/);
      const vm = rules.sandbox.world.vms.get(Number(made))!;
      expect(comparable(vm.template, vm, idOf)).toEqual(answer.TEMPLATE);
      expect(comparable(vm.userTemplate, vm, idOf)).toEqual(answer.USER_TEMPLATE);
      // Its addresses are needed by the next one.
      rules.sandbox.world.vms.delete(vm.id);
    },
  );
});
