import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { call, mustCall } from './call.ts';
import { startSandbox } from './sandbox.ts';
import type { Sandbox } from './sandbox.ts';
import { parseTemplate } from './template-text.ts';

let dir: string;
let sandbox: Sandbox;
let serial = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sandbox-templates-'));
  sandbox = await startSandbox({ dir });
});

afterAll(async () => {
  await sandbox.stop();
  await rm(dir, { recursive: true, force: true });
});

/** What one.template.info shows inside TEMPLATE after the attributes were allocated. */
async function stored(attributes: string): Promise<string> {
  serial += 1;
  const xml = `<VMTEMPLATE><NAME>t${serial}</NAME>${attributes}</VMTEMPLATE>`;
  const id = Number(await mustCall(sandbox, 'one.template.allocate', xml));
  const info = await mustCall(sandbox, 'one.template.info', id, false, false);
  return /<TEMPLATE>(.*)<\/TEMPLATE>/s.exec(info)?.[1] ?? '';
}

describe('a template in XML', () => {
  const character = fc.constantFrom(
    ...['a', '"', "'", '\\', '<', '>', '&', ']', '\n', '\t', ' ', '$', '`', 'ü', '€', '😀', '['],
  );
  const value = fc
    .array(character, { minLength: 1, maxLength: 30 })
    .map((list) => list.join(''))
    .filter((text) => !text.includes(']]>'));

  test('a template in XML that the stand-in stores gives every value back in CDATA, single or in a vector', async () => {
    await fc.assert(
      fc.asyncProperty(value, async (text) => {
        const data = `<![CDATA[${text}]]>`;
        const attributes = `<D>${data}</D><V><A>${data}</A></V>`;
        expect(await stored(attributes)).toBe(attributes);
      }),
      { numRuns: 40 },
    );
  });

  test('a template in XML that the stand-in stores comes back in the order of its names, and equal names in the order they came', async () => {
    expect(await stored('<B>1</B><DISK><Z>1</Z><A>1</A></DISK><a>2</a><DISK><X>2</X></DISK>')).toBe(
      '<A><![CDATA[2]]></A><B><![CDATA[1]]></B><DISK><A><![CDATA[1]]></A><Z><![CDATA[1]]></Z></DISK>' +
        '<DISK><X><![CDATA[2]]></X></DISK>',
    );
  });

  test.each([
    ['an empty element', '<D></D>'],
    ['text beside CDATA', '<D>a<![CDATA[b]]></D>'],
    ['a comment in a value', '<D>a<!-- c --></D>'],
  ])(
    'a template in XML that the stand-in stores loses %s, as in oned',
    async (_what, attributes) => {
      expect(await stored(attributes)).toBe('');
    },
  );

  test('a template in XML that the stand-in stores keeps an empty CDATA section', async () => {
    expect(await stored('<D><![CDATA[]]></D>')).toBe('<D><![CDATA[]]></D>');
  });

  test('a template in XML that the stand-in stores loses carriage returns, which XML cannot keep', async () => {
    expect(await stored('<D>a&#13;b</D>')).toBe('<D><![CDATA[a\nb]]></D>');
  });

  test.each([
    ['an open element', '<TEMPLATE><NAME>x</NAME>'],
    ['an unknown entity', '<TEMPLATE><NAME>x</NAME><D>&nbsp;</D></TEMPLATE>'],
    ['a bare ampersand', '<TEMPLATE><NAME>x</NAME><D>a & b</D></TEMPLATE>'],
    ['two roots', '<TEMPLATE></TEMPLATE><TEMPLATE></TEMPLATE>'],
    ['a control character', '<TEMPLATE><NAME>x</NAME><D>&#1;</D></TEMPLATE>'],
  ])('a template in XML that the stand-in stores is refused with %s', async (_what, xml) => {
    expect(await call(sandbox, 'one.template.allocate', xml)).toEqual({
      ok: false,
      code: 8192,
      value: '[one.template.allocate] Parse error: XML Template malformed.',
    });
  });
});

describe('a template as text', () => {
  test.each([
    ['an escaped quote', 'D="a\\"b"', 'a"b'],
    ['a backslash before another letter', 'D="a\\nb"', 'a\\nb'],
    ['a value without quotes', 'D=abc', 'abc'],
    ['an empty value', 'D=\nE=1', ''],
    ['an empty quoted value', 'D="" E="1"', ''],
    ['a comment in front', '# comment D="x"\nD="y"', 'y'],
    ['a lower-case name', 'd="x"', 'x'],
    // A value that was meant to end in a backslash swallows what follows, up to the next quote.
    ['a backslash at the end, with more behind it', 'D="abc\\" E="', 'abc" E='],
  ])('%s in a template as text is read by the stand-in as oned reads it', (_what, text, value) => {
    expect(parseTemplate(text).get('D')).toBe(value);
  });

  test('a vector of a template as text holds upper-case names, of which the first counts', () => {
    const [vector] = parseTemplate('DISK = [ image_id = "1" ,\n SIZE=2, SIZE="3" ]').vectors(
      'DISK',
    );
    expect([...(vector ?? [])]).toEqual([
      ['IMAGE_ID', '1'],
      ['SIZE', '2'],
    ]);
  });
});

test('a template with a name that the user has already given is refused by the stand-in', async () => {
  const id = await mustCall(sandbox, 'one.template.allocate', 'NAME=twice CPU=1');
  expect(await call(sandbox, 'one.template.allocate', 'NAME=twice CPU=1')).toEqual({
    ok: false,
    code: 8192,
    value: `[one.template.allocate] NAME is already taken by TEMPLATE ${id}.`,
  });
});

test('a template with a slash in its name is refused by the stand-in', async () => {
  const { value } = await call(sandbox, 'one.template.allocate', 'NAME="a/b" CPU=1');
  expect(value).toBe("[one.template.allocate] Invalid NAME, char '/' is not allowed");
});

test('a plain user of the stand-in may not set a MAC, oneadmin may', async () => {
  const bob = { ...sandbox, authFile: await sandbox.addUser('bob') };
  const template = 'NAME=mac CPU=1 NIC=[NETWORK=net1,MAC="02:00:00:00:00:01"]';
  expect(await call(bob, 'one.template.allocate', template)).toEqual({
    ok: false,
    code: 512,
    value: '[one.template.allocate] User [2] : VM Template includes a restricted attribute MAC.',
  });
  expect((await call(sandbox, 'one.template.allocate', template)).ok).toBe(true);
});

test('a deleted template of the stand-in is gone', async () => {
  const id = Number(await mustCall(sandbox, 'one.template.allocate', 'NAME=gone CPU=1'));
  await mustCall(sandbox, 'one.template.delete', id, false);
  expect((await call(sandbox, 'one.template.info', id)).code).toBe(1024);
});

test('calls of the stand-in are recorded without their passwords', async () => {
  await mustCall(sandbox, 'one.template.allocate', 'NAME=recorded CPU=1');
  expect(sandbox.calls.at(-1)).toEqual({
    method: 'one.template.allocate',
    user: 'oneadmin',
    args: ['NAME=recorded CPU=1'],
  });
});
