import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { capture, replay, replyValue } from './captures.ts';
import type { Message } from './captures.ts';
import { imageState } from './image-states.ts';
import { imageXml } from './images.ts';
import { startSandbox } from './sandbox.ts';
import type { Sandbox } from './sandbox.ts';
import { parseTemplate } from './template-text.ts';

let dir: string;
let sandbox: Sandbox;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sandbox-captures-'));
  sandbox = await startSandbox({ dir, password: 'oneadminpw', safeDirs: dir, imageCopyMs: 0 });
  await sandbox.addUser('bob', 'bobpw');
  sandbox.addVm(replyValue(capture('041').response.body));
});

afterEach(async () => {
  await sandbox.stop();
  await rm(dir, { recursive: true, force: true });
});

/** A header's name, or its whole line where the value does not change from call to call. */
function comparable(line: string): string {
  return /^(date|content-length):/i.test(line) ? line.replace(/:.*/, '') : line;
}

async function expectSameReply(request: Message, response: Message): Promise<void> {
  const got = await replay(sandbox.endpoint, request);
  expect(got.body).toBe(response.body);
  expect(got.head.map(comparable)).toEqual(response.head.map(comparable));
}

/** The image of the recordings, used by as many VMs. */
function addRecordedImage(): number {
  const [uid, gid] = [0, 0];
  sandbox.world.images.set(6, {
    id: 6,
    uid,
    gid,
    uname: 'oneadmin',
    gname: 'oneadmin',
    name: 'base-ssh',
    permissions: '110000000',
    type: 'OS',
    persistent: false,
    regtime: 1795395710,
    source: '/var/lib/one//datastores/1/4ad08adc46723c5cfacc88f51981a0f8',
    path: '/var/tmp/one-img/base.qcow2',
    format: 'qcow2',
    fs: '',
    sizeMb: 256,
    state: imageState.used,
    prevState: imageState.used,
    vms: new Set([105, 102, 104]),
    datastoreId: 1,
    datastore: 'default',
    template: parseTemplate('DEV_PREFIX="vd"'),
  });
  return 6;
}

test.each([
  ['the version', '040'],
  ['a VM', '041'],
  ['a VM with a negative id', '044'],
  ['an id that is no number', '045'],
  ['a method that does not exist', '046'],
  ['a call without parameters', '047'],
  ['a VM of someone else', '048'],
  ['the lock of a VM of someone else', '049'],
  ['a session without a password', '050'],
  ['a lock of level 4', '051'],
  ['a lock with two parameters', '054'],
  ['an unlock of a VM that is not locked', '058'],
  ['a lock of level 0', '059'],
  ['a lock of level 9', '060'],
  ['a lock of an unknown VM', '062'],
  ['an unlock of an unknown VM', '063'],
  ['an image in an unknown datastore', '066'],
  ['an image of type BACKUP', '068'],
  ['an image in a system datastore', '022'],
  ['an image from a missing file', '023'],
  ['a template without a name', '070'],
  ['a template that stops in the middle', '037'],
  ["a template text with ']]>'", '085'],
  ["a template in XML with ']]>'", '087'],
  ['an unknown template to instantiate', '074'],
  ['too few parameters to instantiate', '075'],
  ['an unknown image to delete', '076'],
  ['a body that is no XML', '078'],
  ['a GET', '079'],
  ['another path', '080'],
])('the stand-in answers %s as recorded (%s)', async (_what, number) => {
  const { request, response } = capture(number);
  await expectSameReply(request, response);
});

describe('a locked VM', () => {
  test('a locked VM of the stand-in can be locked again, which replaces the lock', async () => {
    await replay(sandbox.endpoint, capture('051').request);
    const { request, response } = capture('052');
    await expectSameReply(request, response);
  });

  test('a locked VM of the stand-in answers a test of the lock with its time', async () => {
    await replay(sandbox.endpoint, capture('051').request);
    const time = 1795396920;
    const vm = sandbox.world.vms.get(105)!;
    vm.lock = { ...vm.lock!, time };
    const { request, response } = capture('053');
    await expectSameReply(request, response);
  });

  test.each([
    ['an action', '055'],
    ['a backup', '056'],
  ])('a locked VM of the stand-in refuses %s even to oneadmin', async (_what, number) => {
    await replay(sandbox.endpoint, capture('051').request);
    const { request, response } = capture(number);
    await expectSameReply(request, response);
  });
});

describe('images', () => {
  test('the XML of images in the stand-in is the recorded one', () => {
    const id = addRecordedImage();
    const recorded = replyValue(capture('064').response.body);
    expect(imageXml(sandbox.world.images.get(id)!)).toBe(recorded);
  });

  test('an image that VMs use is not deleted by the stand-in', async () => {
    addRecordedImage();
    const { request, response } = capture('077');
    await expectSameReply(request, response);
  });

  test.each([
    ['by the client', '019', 39],
    ['with three parameters', '065', 41],
    ['with an empty type', '067', 42],
  ])('an image allocated %s gets the next id in the stand-in', async (_how, number, lastId) => {
    const file = join(dir, 'data.raw');
    await writeFile(file, '');
    await truncate(file, 1048576);
    sandbox.world.reserveId('image', lastId);
    const { request, response } = capture(number);
    const body = request.body.replace('/var/tmp/one-img/data.raw', file);
    await expectSameReply({ ...request, body }, response);
  });

  test('a taken name of an image is refused by the stand-in', async () => {
    const file = join(dir, 'data.raw');
    await writeFile(file, 'x');
    sandbox.world.reserveId('image', 39);
    await sandbox.makeImage({ name: 'rpc-img', file, format: 'raw' });
    const { request, response } = capture('020');
    const body = request.body.replace('/var/tmp/one-img/data.raw', file);
    await expectSameReply({ ...request, body }, response);
  });

  test('an image of a file outside the safe folders is accepted first by the stand-in', async () => {
    sandbox.world.reserveId('image', 40);
    const { request, response } = capture('021');
    await expectSameReply(request, response);
  });
});

describe('templates', () => {
  test.each([
    ['quoted text that ends in a backslash', '081', 14, 'abc\\'],
    ['two backslashes', '082', 15, 'abc\\\\'],
    ['a line break', '083', 16, 'line1\nline2'],
    ['XML with a backslash', '084', 17, 'abc\\'],
    ['unquoted text, of which the first word counts', '086', 18, 'bare'],
    ['a tab', '088', 20, 'a\ttab'],
  ])('the stand-in keeps %s in a template', async (_what, number, lastId, value) => {
    sandbox.world.reserveId('template', lastId);
    const { request, response } = capture(number);
    await expectSameReply(request, response);
    expect(sandbox.world.templates.get(lastId + 1)?.template.get('D')).toBe(value);
  });

  test.each([
    ['<TEMPLATE>', '071', 10],
    ['<VMTEMPLATE>', '072', 11],
  ])('the stand-in accepts a template in XML with the root %s', async (_root, number, lastId) => {
    sandbox.world.reserveId('template', lastId);
    const { request, response } = capture(number);
    await expectSameReply(request, response);
  });
});
