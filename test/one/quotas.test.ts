import { describe, expect, test } from '@jest/globals';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { exceededQuota, type Demand } from '../../lib/one/quotas.ts';

const user = (quotas: string, defaults = ''): ReturnType<typeof parseXml> =>
  parseXml(
    Buffer.from(
      `<USER><ID>2</ID>${quotas}<DEFAULT_USER_QUOTAS>${defaults}</DEFAULT_USER_QUOTAS></USER>`,
    ),
    'it',
  );
const nothing: Demand = { datastores: new Map(), leases: new Map(), vm: undefined };
const images = (size: number): Demand => ({
  ...nothing,
  datastores: new Map([[1, { IMAGES: 2, SIZE: size }]]),
});
const datastore = (limits: string): string =>
  `<DATASTORE_QUOTA><DATASTORE><ID>1</ID><IMAGES_USED>3</IMAGES_USED><SIZE_USED>1000</SIZE_USED>${limits}</DATASTORE></DATASTORE_QUOTA>`;

describe('a quota', () => {
  test('a quota that is used up to its limit by the restore allows it, one MiB less refuses it', () => {
    const limited = user(datastore('<SIZE>1500</SIZE><IMAGES>-1</IMAGES>'));
    expect(exceededQuota(limited, images(500))).toBeUndefined();
    expect(exceededQuota(limited, images(501))).toBe(
      'SIZE of datastore 1: 1000 of 1500 are used, 501 more are needed',
    );
  });

  test('a quota of 0 allows nothing, and -2 everything', () => {
    expect(exceededQuota(user(datastore('<IMAGES>0</IMAGES>')), images(1))).toContain('IMAGES');
    const unlimited = user(
      datastore('<SIZE>-2</SIZE>'),
      '<DATASTORE_QUOTA><DATASTORE><ID>1</ID><SIZE>1</SIZE></DATASTORE></DATASTORE_QUOTA>',
    );
    expect(exceededQuota(unlimited, images(500))).toBeUndefined();
  });

  test('a quota of -1, or that is missing, is the default', () => {
    const defaults =
      '<DATASTORE_QUOTA><DATASTORE><ID>1</ID><SIZE>1200</SIZE></DATASTORE></DATASTORE_QUOTA>';
    const byDefault = user(datastore('<SIZE>-1</SIZE>'), defaults);
    expect(exceededQuota(byDefault, images(201))).toContain('1000 of 1200');
    expect(exceededQuota(user('<DATASTORE_QUOTA/>', defaults), images(1201))).toContain('0 of');
    expect(exceededQuota(user('<DATASTORE_QUOTA/>'), images(1201))).toBeUndefined();
  });

  test('a quota of another datastore or network does not count', () => {
    const other = user(datastore('<SIZE>0</SIZE>'));
    const elsewhere = { ...nothing, datastores: new Map([[2, { IMAGES: 1, SIZE: 9 }]]) };
    expect(exceededQuota(other, elsewhere)).toBeUndefined();
  });

  test('a quota of addresses counts every NIC', () => {
    const limited = user(
      '<NETWORK_QUOTA><NETWORK><ID>0</ID><LEASES>3</LEASES><LEASES_USED>2</LEASES_USED></NETWORK></NETWORK_QUOTA>',
    );
    const wanted = (leases: number): Demand => ({ ...nothing, leases: new Map([[0, leases]]) });
    expect(exceededQuota(limited, wanted(1))).toBeUndefined();
    expect(exceededQuota(limited, wanted(2))).toContain('LEASES of network 0');
  });

  test.each([
    ['<VMS>1</VMS><VMS_USED>1</VMS_USED>', 'VMS'],
    ['<CPU>1</CPU><CPU_USED>0.60</CPU_USED>', 'CPU'],
    [
      '<RUNNING_MEMORY>100</RUNNING_MEMORY><RUNNING_MEMORY_USED>64</RUNNING_MEMORY_USED>',
      'RUNNING_MEMORY',
    ],
  ])('a quota of VMs (%s) is checked when a VM is made', (quota, metric) => {
    const limited = user(`<VM_QUOTA><VM>${quota}</VM></VM_QUOTA>`);
    expect(exceededQuota(limited, nothing)).toBeUndefined();
    const exceeded = exceededQuota(limited, { ...nothing, vm: { CPU: 0.5, MEMORY: 64 } });
    expect(exceeded?.split(':')[0]).toBe(metric);
  });
});
