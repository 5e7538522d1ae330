import { describe, expect, test } from '@jest/globals';
import { parseBackupRequest } from '../../lib/backup/backup-request.ts';
import { UsageError } from '../../lib/report/errors.ts';
import { childBytes } from '../../lib/xml/child-bytes.ts';

const cut = (document: string): string => childBytes(Buffer.from(document), 'VM', 'it').toString();

describe('an element that is cut out of a document', () => {
  test.each([
    ['has its bytes as they are', '<A>\r\n<VM a="b" ><N>caf\u00e9 \u{1f600}</N></VM\t>\r\n</A>', '<VM a="b" ><N>caf\u00e9 \u{1f600}</N></VM\t>'],
    ['may follow a byte order mark', '\ufeff<A>\u00e9<!-- --><VM/></A>'.replace('\u00e9', ' '), '<VM/>'],
    ['is the first of several, and a child of the root', '<A><B><VM>1</VM></B><VM>2</VM><VM>3</VM></A>', '<VM>2</VM>'],
    ['is not what a text looks like', '<A><B><![CDATA[<VM>1</VM>]]></B><VM><![CDATA[</VM>]]>2</VM></A>', '<VM><![CDATA[</VM>]]>2</VM>'],
    ['may hold elements of its own name', '<A><VM><VM>1</VM></VM><B></B></A>', '<VM><VM>1</VM></VM>'],
  ])('an element that is cut out of a document %s', (_how, document, expected) => {
    expect(cut(document)).toBe(expected);
  }); // prettier-ignore

  test('an element that is not in the document cannot be cut out of it', () => {
    expect(() => cut('<VM><B/></VM>')).toThrow(UsageError);
  });
});

test('the data of a backup with a million texts that look like a VM takes no time to read', () => {
  const text = '<VM>'.repeat(1_000_000);
  const vm = `<VM><ID>7</ID><NAME>x</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE/><USER_TEMPLATE><A><![CDATA[${text}]]></A></USER_TEMPLATE></VM>`;
  const words = ['host:/ds/0/7', '0', 'one-7', '3', '7', '100'];
  const data = `<DS_DRIVER_ACTION_DATA><A><![CDATA[${text}]]></A>${vm}</DS_DRIVER_ACTION_DATA>`;
  const started = process.cpuUsage();
  const request = parseBackupRequest(words, Buffer.from(data));
  expect(request.vm?.xmlBytes.equals(Buffer.from(vm))).toBe(true);
  const { user, system } = process.cpuUsage(started);
  expect((user + system) / 1e6).toBeLessThan(20);
});
