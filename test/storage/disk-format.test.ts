import { describe, expect, test } from '@jest/globals';
import { UnsupportedError } from '../../lib/report/errors.ts';
import { declaredFormat } from '../../lib/storage/disk-format.ts';
import { disk } from '../support/storage-world.ts';

const none = undefined;

describe('the format of a disk', () => {
  test.each([
    ['FORMAT', { format: 'qcow2', driver: none }, none, 'qcow2'],
    ['DRIVER when there is no FORMAT', { format: none, driver: 'qcow2' }, none, 'qcow2'],
    ['DRIVER when FORMAT is empty', { format: '', driver: 'raw' }, none, 'raw'],
    ['FORMAT before the image', { format: 'raw', driver: 'raw' }, 'qcow2', 'raw'],
    ['the image when the disk says nothing', { format: none, driver: none }, 'raw', 'raw'],
    ['written in any case', { format: 'QCOW2', driver: 'qcow2' }, none, 'qcow2'],
    ['raw for a CD-ROM that says nothing', { type: 'CDROM', format: none }, none, 'raw'],
    ['raw for a CD-ROM that says iso', { type: 'CDROM', format: 'iso' }, none, 'raw'],
    ['raw for a CD-ROM that says qcow2', { type: 'CDROM', format: 'qcow2' }, 'qcow2', 'raw'],
    ['raw for a CD-ROM of two formats', { type: 'CDROM', driver: 'qcow2' }, none, 'raw'],
  ])('the format of a disk is %s', (_, facts, image, expected) => {
    expect(declaredFormat(disk(0, facts), image)).toBe(expected);
  });

  test.each([
    ['declared nowhere', { format: none, driver: none }, none, 'the format of disk 3 is not known'],
    ['declared empty', { format: '', driver: ' ' }, '', 'the format of disk 3 is not known'],
    ['contradicted', { format: 'raw', driver: 'qcow2' }, none, 'as raw by FORMAT, but as qcow2'],
    ['another one', { format: 'vmdk', driver: none }, none, 'disk 3 has the format vmdk'],
    ['iso without being a CD-ROM', { format: 'iso', driver: none }, none, 'the format iso'],
    ['the image’s, and another one', { format: none, driver: none }, 'vdi', 'the format vdi'],
  ])('the format of a disk that is %s is refused', (_, facts, image, message) => {
    const decide = (): unknown => declaredFormat(disk(3, facts), image);
    expect(decide).toThrow(UnsupportedError);
    expect(decide).toThrow(message);
  });
});
