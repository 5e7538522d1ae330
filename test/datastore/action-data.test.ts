// What oned hands to the actions of a backup datastore.
import { describe, expect, test } from '@jest/globals';
import {
  asId,
  decodeActionData,
  idAt,
  isYesAt,
  parseActionData,
  requiredAt,
  valueAt,
} from '../../lib/datastore/action-data.ts';
import { backupDatastore, bundlePath } from '../../lib/datastore/backup-datastore.ts';
import { UsageError } from '../../lib/report/errors.ts';

const document = '<DS_DRIVER_ACTION_DATA><IMAGE><ID>7</ID></IMAGE></DS_DRIVER_ACTION_DATA>';
const base64 = Buffer.from(document).toString('base64');
const nothing = Buffer.alloc(0);

function datastore(template: string, basePath = '/var/lib/one//datastores/102'): string {
  return `<DATASTORE><ID>102</ID><BASE_PATH>${basePath}</BASE_PATH><TEMPLATE>${template}</TEMPLATE></DATASTORE>`;
}

const read = (xml: string) => backupDatastore(parseActionData(Buffer.from(xml)));

describe('the data of an action', () => {
  test('the data of an action is read from stdin in base64, also with line breaks', () => {
    const lines = base64.replaceAll(/.{20}/g, '$&\n');
    expect(idAt(decodeActionData(['41'], Buffer.from(lines)), 'IMAGE/ID')).toBe(7);
  });

  test('the data of an action is read from the first argument where stdin is empty, as up to OpenNebula 6.6', () => {
    expect(idAt(decodeActionData([base64, '41'], nothing), 'IMAGE/ID')).toBe(7);
  });

  test.each([
    ['nothing', []],
    ['a number', ['41']],
    ['base64 with something else in it', [`${base64.slice(0, 8)}*${base64.slice(8)}`]],
    ['base64 that is cut', [base64.slice(0, -3)]],
  ])('the data of an action is refused when it is %s', (_, args) => {
    expect(() => decodeActionData(args, nothing)).toThrow(
      'is not base64; this program is started by OpenNebula',
    );
  });

  test('the data of an action is refused when it is another document', () => {
    expect(() => parseActionData(Buffer.from('<VM><ID>7</ID></VM>'))).toThrow(
      'is <VM>, expected <DS_DRIVER_ACTION_DATA>',
    );
  });

  test('a value of the data of an action that is empty counts as missing', () => {
    const data = parseActionData(Buffer.from('<DATASTORE><A></A><B><C> </C></B></DATASTORE>'));
    expect(valueAt(data, 'DATASTORE/A')).toBeUndefined();
    expect(valueAt(data, 'DATASTORE/B/D')).toBeUndefined();
    expect(() => requiredAt(data, 'DATASTORE/A')).toThrow('has no DATASTORE/A');
    expect(isYesAt(data, 'DATASTORE/A')).toBe(false);
  });

  test.each(['yes', 'YES', 'Yes'])('a value %s of the data of an action means yes', (text) => {
    const data = parseActionData(Buffer.from(`<DATASTORE><A>${text}</A></DATASTORE>`));
    expect(isYesAt(data, 'DATASTORE/A')).toBe(true);
  });

  test.each(['', '-1', '1.5', '0x1', '1 ', '../1', '1234567890'])(
    'the number %j of the data of an action is refused by its name',
    (text) => {
      expect(() => asId(text, 'IMAGE/ID')).toThrow(UsageError);
      expect(() => asId(text, 'IMAGE/ID')).toThrow('IMAGE/ID is ');
    },
  );
});

describe('a backup datastore', () => {
  test('a backup datastore is read from the XML that OpenNebula 6.6 gives, which is that of the datastore alone', () => {
    expect(read(datastore(''))).toEqual({
      id: 102,
      host: undefined,
      basePath: '/var/lib/one/datastores/102',
      compression: undefined,
    });
  });

  test('a backup datastore on another host is read with its user and its compression', () => {
    const template =
      '<ONEVMDUMP_HOST>store</ONEVMDUMP_HOST><ONEVMDUMP_USER>backup</ONEVMDUMP_USER><ONEVMDUMP_COMPRESS>zstd:3</ONEVMDUMP_COMPRESS>';
    expect(read(datastore(template))).toMatchObject({
      host: { host: 'store', user: 'backup' },
      compression: { method: 'zstd', level: 3 },
    });
  });

  test.each(['here', './here', '../one', 'a&#10;/b', '/a&#10;b'])(
    'a backup datastore with the BASE_PATH %j is refused',
    (basePath) => {
      expect(() => read(datastore('', basePath))).toThrow(/^BASE_PATH of the datastore is /);
    },
  );

  test('the path of a bundle lies in the folder of its VM', () => {
    expect(bundlePath(read(datastore('')), 'onevmdump-8-1763870712.tar.gz')).toBe(
      '/var/lib/one/datastores/102/8/onevmdump-8-1763870712.tar.gz',
    );
  });

  test.each([
    '',
    '.',
    '../8/onevmdump-8-1763870712.tar.gz',
    'onevmdump-8-1763870712.tar.gz/../../x',
    'onevmdump-../8-1763870712.tar.gz',
    'onevmdump-08-1763870712.tar.gz',
    'onevmdump-8-1763870712.tar.gz.part',
    'onevmdump-8-1763870712.tar.gz\n',
    '/etc/passwd',
  ])('the path of a bundle is refused for the name %j', (name) => {
    expect(() => bundlePath(read(datastore('')), name)).toThrow('is not the name of a bundle');
  });
});
