import { describe, expect, test } from '@jest/globals';
import { CommandError } from '../../lib/report/errors.ts';
import { lvsFields, parseLvs } from '../../lib/tools/lvs-report.ts';

/** As lvs 2.03.16 prints it, of a linear volume. */
const row = {
  lv_name: 'lv-one-7-0',
  lv_size: '1073741824',
  lv_active: 'active',
  lv_device_open: 'open',
  lv_layout: 'linear',
  origin: '',
  pool_lv: '',
  data_percent: '',
  metadata_percent: '',
  lv_snapshot_invalid: 'unknown',
  lv_health_status: '',
  vg_extent_size: '4194304',
  vg_free: '8388608',
};

const report = (...rows: readonly unknown[]) => JSON.stringify({ report: [{ lv: rows }] });
const read = (text: string) => parseLvs(text, 'vg-one-0');

describe('what lvs prints', () => {
  test('what lvs prints is a volume group with its volumes', () => {
    const snapshot = { ...row, lv_name: 's', origin: 'lv-one-7-0', lv_snapshot_invalid: 'snapshot invalid', data_percent: '12.50' }; // prettier-ignore
    const thin = { ...row, lv_name: 't', lv_layout: 'thin,sparse', pool_lv: 'pool', lv_active: 'active remotely', lv_device_open: '' }; // prettier-ignore
    const { name, extentBytes, freeBytes, volumes } = read(report(row, snapshot, thin));
    expect({ name, extentBytes, freeBytes }).toEqual({
      name: 'vg-one-0',
      extentBytes: 4194304,
      freeBytes: 8388608,
    });
    expect(volumes.get('lv-one-7-0')).toMatchObject({
      bytes: 1073741824,
      active: true,
      open: true,
      thin: false,
      origin: undefined,
      invalid: false,
    });
    expect(volumes.get('s')).toMatchObject({
      origin: 'lv-one-7-0',
      invalid: true,
      dataPercent: 12.5,
    });
    expect(volumes.get('t')).toMatchObject({
      thin: true,
      pool: 'pool',
      active: false,
      open: false,
    });
  });

  test('what lvs prints may have numbers where older versions have texts', () => {
    const newer = { ...row, lv_size: 1073741824, vg_free: 0, data_percent: 3 };
    const { freeBytes, volumes } = read(report(newer));
    expect(freeBytes).toBe(0);
    expect(volumes.get('lv-one-7-0')).toMatchObject({ bytes: 1073741824, dataPercent: 3 });
  });

  test('what lvs prints may be of a volume group without volumes', () => {
    expect(read(report()).volumes.size).toBe(0);
  });

  test('what lvs prints is asked for with just the fields that are read', () => {
    expect(lvsFields.split(',').sort()).toEqual(Object.keys(row).sort());
  });

  test.each(Object.keys(row))('what lvs prints is refused without the field %s', (field) => {
    expect(() => read(report(row, { ...row, [field]: undefined }))).toThrow(
      `cannot look at the volume group vg-one-0: unexpected output of lvs: report[0].lv[1].${field} is not`,
    );
  });

  test.each([
    ['no JSON', 'WARNING: locking', 'it is not JSON'],
    ['nothing', '', 'it is not JSON'],
    ['a list', '[]', 'the whole is not an object'],
    ['no report', '{}', 'report is not a list'],
    ['a report without volumes', '{"report":[{}]}', 'report[0].lv is not a list'],
    ['a volume that is null', report(null), 'report[0].lv[0] is not an object'],
    ['a size with a unit', report({ ...row, lv_size: '1g' }), 'lv_size is not a number of bytes'],
    ['a size below zero', report({ ...row, lv_size: -1 }), 'lv_size is not a number of bytes'],
    ['a size beyond all numbers', report({ ...row, lv_size: '9'.repeat(30) }), 'lv_size is not a number of bytes'],
    ['a size in a list', report({ ...row, lv_size: ['1'] }), 'lv_size is not a number of bytes'],
    ['a name that is an object', report({ ...row, lv_name: {} }), 'lv_name is not a text or a number'],
  ])('what lvs prints is refused when it is %s', (_what, text, message) => {
    expect(() => read(text)).toThrow(CommandError);
    expect(() => read(text)).toThrow(message);
  }); // prettier-ignore
});
