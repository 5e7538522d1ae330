// Texts of one line or a few: settings, addresses, names, words of drivers, what small programs print.
import { parseBackupArguments, parseHostFolder } from '../../../lib/backup/backup-request.ts';
import {
  bundleName,
  parseBundleName,
  type BundleNameFacts,
} from '../../../lib/bundle/format/bundle-name.ts';
import { parseBundleAddress } from '../../../lib/bundle/location/bundle-address.ts';
import { RemoteReads } from '../../../lib/bundle/location/remote-reads.ts';
import { PassThrough, Readable } from 'node:stream';
import { namesIn, kindOfPath } from '../../../lib/bundle/location/host-file.ts';
import { defaultOf, parseConfig } from '../../../lib/config/config.ts';
import type { Setting } from '../../../lib/config/setting.ts';
import { asId } from '../../../lib/datastore/action-data.ts';
import { diskUrl, parseDiskUrl } from '../../../lib/datastore/disk-url.ts';
import { parseMappings } from '../../../lib/restore/mapping.ts';
import { allSettings } from '../../../lib/session/load-config.ts';
import { blockDevice, userOfDevice } from '../../../lib/tools/block-device.ts';
import { writesTo } from '../../../lib/tools/block-writes.ts';
import {
  fileStamps,
  freeBytes,
  realPath,
  realPaths,
  regularFileSize,
} from '../../../lib/tools/file-facts.ts';
import { fileAt } from '../folder.ts';
import { inEachWay, inPieces, joined, parted, printing } from '../reading.ts';
import { must, type Target } from '../target.ts';
import { mutateText } from '../text-mutations.ts'; // prettier-ignore

const lines = (...texts: readonly string[]): readonly Buffer[] => texts.map((text) => Buffer.from(text)); // prettier-ignore

export const settings: Target = {
  name: 'settings',
  seeds: () => {
    const shipped = fileAt('../etc/onevmdump.conf');
    const all = allSettings.map((one) => `${one.key} = "${defaultOf(one, {})}" # words\n`);
    return [shipped, Buffer.from(all.join('')), Buffer.from(all.reverse().join('\r\n'))];
  },
  mutate: mutateText,
  refuses: ['UsageError'],
  read(input) {
    const known: readonly Setting<unknown>[] = allSettings;
    const values = parseConfig(known, input.toString(), '/etc/one/onevmdump.conf');
    return [...values].map(([key, { text }]) => known.find((one) => one.key === key)?.parse(text));
  },
};

const secret = 'oneadmin:0123456789';
const made = (['disk', 'image', 'tpm'] as const).map(
  (form, diskId) =>
  diskUrl({ datastoreId: 100, bundle: 'onevmdump-7-1700000000.tar.gz', diskId, form }, secret, new Date(Date.now() + 1e9)), // prettier-ignore
);

export const diskUrls: Target = {
  name: 'disk-url',
  seeds: () => lines(...made),
  mutate: mutateText,
  refuses: ['UsageError'],
  read(input) {
    const url = input.toString();
    const address = parseDiskUrl(url, secret);
    must(made.includes(url), 'an address that was not made here');
    return address;
  },
};

export const bundleNames: Target = {
  name: 'bundle-name',
  seeds: () => lines('onevmdump-7-1700000000.tar.gz', 'onevmdump-0-0.tar', 'onevmdump-12-17.tar.zst'),
  mutate: mutateText,
  refuses: [],
  read(input) {
    const name = input.toString();
    const facts: BundleNameFacts | undefined = parseBundleName(name);
    must(facts === undefined || bundleName(facts) === name, 'a name that is made otherwise');
    return facts;
  },
}; // prettier-ignore

export const addresses: Target = {
  name: 'address',
  seeds: () => [
    joined('backup@host.example:/b/onevmdump-7-1.tar', 'host:/var/lib/one/datastores/0/7', '1=2'),
    joined('[fe80::1]:b.tar', 'h-1.x:/a/../b/', 'web net=other=net'),
    joined('./a:b', 'h:/', ' a = b '),
  ],
  mutate: mutateText,
  refuses: ['UsageError'],
  read(input) {
    const [address = '', folder = '', mapping = '', id = ''] = parted(input);
    return inEachWay(
      () => {
        const { host } = parseBundleAddress(address);
        must(host?.host.startsWith('-') !== true, 'a host that is an option for ssh');
        must(host?.user?.startsWith('-') !== true, 'a user that is an option for ssh');
      },
      () => must(!parseHostFolder(folder).host.startsWith('-'), 'a host that is an option'),
      () => parseMappings([mapping], '--map-network'),
      () => asId(id, 'the id'),
    );
  },
}; // prettier-ignore

export const backupArguments: Target = {
  name: 'backup-arguments',
  seeds: () => [
    joined('host:/var/lib/one/datastores/0/7', '0:1', 'one-7', '3', '7', '100'),
    joined('host:/var/lib/one/datastores/0/7', '0', 'one-7', '7', '100'),
  ],
  mutate: mutateText,
  refuses: ['UsageError', 'UnsupportedError'],
  read: (input) => parseBackupArguments(parted(input)),
};

/** What the script prints that reads a bundle on a host: size and time, then the bytes that were asked for. */
export const remoteReads: Target = {
  name: 'remote-reads',
  seeds: () => lines('1000 1700000000\n'.padEnd(1016, 'x'), '0 0\n', `5 999999999999\nhello`),
  mutate: mutateText,
  refuses: ['FailedError'],
  async read(input) {
    const reads = new RemoteReads(
      {
        ...{ pid: 0, stdin: new PassThrough().resume(), stdout: Readable.from(inPieces(input)) },
        ...{ ended: Promise.resolve({ status: 0, stderr: '' }), stop: () => Promise.resolve() },
      },
      'h:/b',
    );
    const { size } = await reads.head();
    const length = Math.min(size, 1000);
    must(length === 0 || (await reads.read(0, length)).length === length, 'the bytes');
    await reads.close();
    return size;
  },
};

/** The output of stat, realpath and the scripts of lib/tools and lib/bundle/location, on a machine that is not trusted. */
export const programOutput: Target = {
  name: 'program-output',
  seeds: () => lines('81a4 1048576', '41ed 4096', '123456 4096', '61b0 fd 3', '2048', '/ds/0/7/disk.0\0/x\0', '12 34 1.5\0', 'folder\n', '     100   0  2048  10  200 0 4096 20 0 0 0 5 0 40 0', 'open in process 71 (qemu-kvm)\n'),
  mutate: mutateText,
  refuses: ['CommandError', 'FailedError'],
  read(input) {
    const runner = printing(() => input);
    const device = printing(({ program }) => (program === 'stat' ? Buffer.from('61b0 fd 3') : input));
    return inEachWay(
      async () => {
        const size = await regularFileSize(runner, '/x', 'x');
        must(Number.isSafeInteger(size) && size >= 0, 'a size');
      },
      async () => must((await freeBytes(runner, '/x')) >= 0, 'what is free'),
      () => realPath(runner, '/x', 'x'),
      () => realPaths(runner, ['/x', '/y']),
      () => fileStamps(runner, ['/x', '/y'], 'x'),
      () => kindOfPath(runner, '/x'),
      () => namesIn(runner, '/x'),
      async () => must((await blockDevice(device, '/dev/x', 'x')).bytes > 0, 'the size of a device'),
      () => blockDevice(runner, '/dev/x', 'x'),
      () => writesTo(device, '/dev/x'),
      () => userOfDevice(runner, { numbers: '8:0' }, 'x'),
    );
  },
}; // prettier-ignore
