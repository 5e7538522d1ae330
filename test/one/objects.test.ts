// Templates, datastores, and what oned says of itself.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { writeXml } from '../../lib/xml/xml-write.ts';
import { askPool } from '../../lib/one/answers.ts';
import { findDatastore, getDatastore } from '../../lib/one/datastores.ts';
import { ownAccount } from '../../lib/one/accounts.ts';
import { oneVersion } from '../../lib/one/system.ts';
import {
  allocateTemplate,
  deleteTemplate,
  findTemplateWith,
  instantiateTemplate,
  markOfRestore,
  replaceTemplate,
  templateNames,
} from '../../lib/one/templates.ts';
import { getVm } from '../../lib/one/vms.ts';
import { OpenNebulaError, UsageError } from '../../lib/report/errors.ts';
import { recorded, replay, type Replay } from './replay.ts';
import { openWorld, type World } from './with-sandbox.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world.close());
let running: Replay | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

const leaf = (name: string, text: string) => ({ name, text, children: [] });
const template = (name: string, value = '') =>
  writeXml({
    name: 'VMTEMPLATE',
    text: '',
    children: [
      leaf('NAME', name),
      leaf('CPU', '0.1'),
      leaf('MEMORY', '16'),
      leaf('NOTE', value),
      // In CONTEXT itself oned would fill in what stands behind a dollar.
      { name: 'CONTEXT', text: '', children: [leaf('START_SCRIPT', '$NOTE')] },
    ],
  });

describe('templates', () => {
  test('every text of a template survives being registered, instantiated and read back', async () => {
    const text = ` it's "q" \\ \\\\ <x> &amp; $(id) \`id\`\n\tü😀`;
    const id = await allocateTemplate(world.one, template('odd', text));
    const vmId = await instantiateTemplate(world.one, id, { name: 'vm odd', hold: true });
    const vm = parseVm((await getVm(world.one, vmId)).xmlBytes);
    const context = vm.template.children.find(({ name }) => name === 'CONTEXT');
    expect(vm.name).toBe('vm odd');
    expect(context?.children.find(({ name }) => name === 'START_SCRIPT')?.text).toBe(text);
    expect(vm.userTemplate.children.find(({ name }) => name === 'NOTE')?.text).toBe(text);
  });

  test('a template is found by its mark until that is replaced, and the caller’s own by name', async () => {
    const marked = template('found').replace(
      '</NAME>',
      `</NAME><${markOfRestore}>f00</${markOfRestore}>`,
    );
    const id = await allocateTemplate(world.one, marked);
    expect((await templateNames(world.one)).get('found')).toBe(id);
    expect(await findTemplateWith(world.one, markOfRestore, 'f00')).toBe(id);
    expect(await findTemplateWith(world.one, markOfRestore, 'f0')).toBeUndefined();
    await replaceTemplate(world.one, id, '<VMTEMPLATE><CPU>2</CPU></VMTEMPLATE>');
    expect(await findTemplateWith(world.one, markOfRestore, 'f00')).toBeUndefined();
    expect((await templateNames(world.one)).get('found')).toBe(id);
  });

  test('a template with a taken name is refused with the error of oned', async () => {
    await allocateTemplate(world.one, template('taken'));
    await expect(allocateTemplate(world.one, template('taken'))).rejects.toThrow(
      'NAME is already taken',
    );
  });

  test('a deleted template is gone, and deleting it again succeeds', async () => {
    const id = await allocateTemplate(world.one, template('short'));
    await deleteTemplate(world.one, id);
    await deleteTemplate(world.one, id);
    expect((await templateNames(world.one)).has('short')).toBe(false);
    await expect(instantiateTemplate(world.one, id, { name: 'x' })).rejects.toMatchObject({
      oneCode: 1024,
    });
  });

  test('the recorded pool of templates is read', async () => {
    running = await replay((response) => {
      response.end(recorded('tmplshow-one.templatepool.info').body);
    });
    expect((await templateNames(running.client())).get('rpc-t')).toBe(9);
  });
});

describe('pools', () => {
  const page = (ids: readonly number[]): string =>
    recorded('version-one.system.version').body.replace(
      '6.10.5',
      `&lt;IMAGE_POOL&gt;${ids.map((id) => `&lt;IMAGE&gt;&lt;ID&gt;${id}&lt;/ID&gt;&lt;/IMAGE&gt;`).join('')}&lt;/IMAGE_POOL&gt;`,
    );

  test('pools of oned are asked for page by page', async () => {
    const all = Array.from({ length: 1200 }, (_, index) => index);
    running = await replay((response, body) => {
      const [, start, end] = [...body.matchAll(/<int>(-?\d+)<\/int>/g)].map(([, n]) => Number(n));
      response.end(page(all.slice(start, (start ?? 0) - (end ?? 0))));
    });
    const found = await askPool(running.client(), 'IMAGE_POOL', 'one.imagepool.info', -3);
    expect(found.length).toBe(1200);
    expect(running.bodies.length).toBe(31);
  });

  test('pools are read from a server that does not know pages', async () => {
    const all = Array.from({ length: 700 }, (_, index) => index);
    running = await replay((response) => {
      response.end(page(all));
    });
    const found = await askPool(running.client(), 'IMAGE_POOL', 'one.imagepool.info', -3);
    expect(found.length).toBe(700);
    expect(running.bodies.length).toBe(2);
  });
});

describe('datastores', () => {
  test('an image datastore takes images, and says from which folders', async () => {
    expect(await getDatastore(world.one, 1)).toMatchObject({
      id: 1,
      name: 'default',
      type: 'IMAGE',
      takesImages: true,
      copiesImages: true,
      dsMad: 'fs',
      tmMad: 'ssh',
      safeDirs: [`${world.folder}/safe`],
      restrictedDirs: ['/'],
    });
  });

  test('a datastore is found by id and by name', async () => {
    expect((await findDatastore(world.one, '101')).name).toBe('images_qcow2');
    expect((await findDatastore(world.one, 'images_qcow2')).id).toBe(101);
    expect((await findDatastore(world.one, '0')).takesImages).toBe(false);
  });

  test('an unknown datastore is a usage error, and by id the error of oned', async () => {
    await expect(findDatastore(world.one, 'nowhere')).rejects.toThrow(UsageError);
    await expect(getDatastore(world.one, 77)).rejects.toMatchObject({ oneCode: 1024 });
  });
});

describe('oned', () => {
  test('oned tells its version and the caller', async () => {
    expect(await oneVersion(world.one)).toBe('6.10.5');
    expect(await ownAccount(world.one)).toMatchObject({ id: 0, name: 'oneadmin', isAdmin: true });
    const carol = await world.as(await world.sandbox.addUser('carol'));
    expect(await ownAccount(carol)).toMatchObject({ name: 'carol', isAdmin: false });
  });

  test('oned may have templates that carry as much as one can', async () => {
    const state = 'A'.repeat(512 * 1024);
    const children = [leaf('ONEVMDUMP_NVRAM', state), leaf('TPM_STATE', state)];
    for (let n = 0; n < 45; n += 1) {
      const named = [leaf('NAME', `carries ${n}`), ...children];
      await allocateTemplate(
        world.one,
        writeXml({ name: 'VMTEMPLATE', text: '', children: named }),
      );
    }
    const names = await templateNames(world.one);
    expect([...names.keys()].filter((name) => name.startsWith('carries'))).toHaveLength(45);
  });

  test('wrong credentials are reported as error 256 of oned', async () => {
    const { client, close } = await replay((response) => {
      response.end(recorded('badsession-one.vm.info').body);
    });
    await expect(oneVersion(client())).rejects.toMatchObject({ oneCode: 256 });
    await close();
  });

  test.each(['truncated', 'empty', 'not-xml', 'doctype', 'reset', 'http-500', 'huge'] as const)(
    'a malformed answer of oned (%s) is an error without a code',
    async (how) => {
      world.sandbox.spoilNext('one.system.version', how);
      const error: unknown = await oneVersion(world.one).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OpenNebulaError);
      expect((error as OpenNebulaError).oneCode).toBeUndefined();
    },
  );
});
