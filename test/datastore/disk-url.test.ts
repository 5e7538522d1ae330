// The addresses by which OpenNebula fetches disks: what stands between the users of a cloud and each other's backups.
import { describe, expect, test } from '@jest/globals';
import { diskUrl, parseDiskUrl, type DiskAddress } from '../../lib/datastore/disk-url.ts';
import { UsageError } from '../../lib/report/errors.ts';

const secret = 'oneadmin:password';
const address: DiskAddress = {
  datastoreId: 102,
  bundle: 'onevmdump-8-1763870712.tar.gz',
  diskId: 3,
  form: 'image',
};
const made = new Date('2026-11-28T00:00:00Z');
const url = diskUrl(address, secret, made);

function later(days: number): Date {
  return new Date(made.getTime() + days * 24 * 3600 * 1000);
}

describe('the address of a disk', () => {
  test.each(['disk', 'image', 'tpm'] as const)(
    'the address of a disk in the form %s is read back as it was made',
    (form) => {
      const one = { ...address, form };
      expect(parseDiskUrl(diskUrl(one, secret, made), secret, made)).toEqual(one);
    },
  );

  test('the address of a disk has no character that a shell knows', () => {
    expect(url).toMatch(/^[A-Za-z0-9:/.-]+$/);
  });

  test('the address of a disk is another one each time, so that an old one says nothing of a new one', () => {
    expect(diskUrl(address, secret, made)).not.toBe(url);
  });

  test('the address of a disk is refused when any character of it is changed', () => {
    for (let at = 0; at < url.length; at++) {
      const other = url[at] === '1' ? '2' : '1';
      const changed = url.slice(0, at) + other + url.slice(at + 1);
      expect(() => parseDiskUrl(changed, secret, made)).toThrow(UsageError);
    }
  });

  test('the address of a disk is refused when it was signed with another secret', () => {
    expect(() => parseDiskUrl(url, 'oneadmin:passwore', made)).toThrow(
      /the signature of .* is wrong/,
    );
  });

  test('the address of a disk is valid for a week and refused afterwards', () => {
    expect(parseDiskUrl(url, secret, later(7))).toEqual(address);
    expect(() => parseDiskUrl(url, secret, later(7.001))).toThrow(
      /has expired; restore the backup/,
    );
  });

  test.each([
    ['leads out of the datastore', { bundle: '..' }],
    ['is not the name of a bundle', { bundle: 'other-8-1763870712.tar.gz' }],
    ['has a number that oned never gives', { diskId: -1 }],
    ['has a number beyond those of oned', { datastoreId: 10 ** 9 }],
  ])('the address of a disk that %s is refused although its signature is right', (_, facts) => {
    const signed = diskUrl({ ...address, ...facts }, secret, made);
    expect(() => parseDiskUrl(signed, secret, made)).toThrow(/does not name a disk in a bundle$/);
  });
});
