// The address by which OpenNebula fetches a disk of a bundle:
//   onevmdump://<datastore id>/<bundle>/<disk id>/<form>/<expires>.<nonce>.<signature>
// datastore/downloader.sh passes it to `stream_disk`. Users can write any PATH into an image, so an address is signed: nobody
// can read a bundle by guessing its name. TM `restore` puts addresses into shell commands, so an address has no character
// that is special in a shell.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { UsageError } from '../report/errors.ts';
import { parseBundleName } from '../bundle/format/bundle-name.ts';

/**
 * `disk`: the disk as it is in the bundle. `image`: the same, but a raw disk that begins like another format is wrapped in
 * qcow2, because the receiver probes the content for its format, and an empty disk has one sector. `tpm`: not a disk, but the state of the vTPM as a tar
 * archive compressed with gzip.
 */
export type DiskForm = 'disk' | 'image' | 'tpm';

export interface DiskAddress {
  readonly datastoreId: number;
  /** The bundle's name. */
  readonly bundle: string;
  readonly diskId: number;
  readonly form: DiskForm;
}

/** Seconds that an address is valid. OpenNebula fetches at once, but a busy datastore can make it wait. */
const validFor = 7 * 24 * 3600;

/**
 * A new address, different each time.
 * @param secret oneadmin's session, which only the drivers of the front-end can read
 */
export function diskUrl(address: DiskAddress, secret: string, now = new Date()): string {
  const expires = Math.floor(now.getTime() / 1000) + validFor;
  const signed = `${unsigned(address)}/${expires}.${randomBytes(8).toString('hex')}`;
  return `${signed}.${signature(signed, secret)}`;
}

const signedUrl =
  /^(?<signed>onevmdump:\/\/(?<ds>\d{1,9})\/(?<bundle>[a-z0-9.-]{1,80})\/(?<disk>\d{1,9})\/(?<form>disk|image|tpm)\/(?<expires>\d{1,12})\.[0-9a-f]{16})\.(?<signature>[0-9a-f]{64})$/;

/** Reads an address. @throws UsageError when it is not one, was not made by this OpenNebula, or has expired */
export function parseDiskUrl(url: string, secret: string, now = new Date()): DiskAddress {
  const groups = signedUrl.exec(url)?.groups;
  const { signed = '', ds, bundle = '', disk, expires, signature: given = '' } = groups ?? {};
  if (!groups || !parseBundleName(bundle)) {
    throw new UsageError(`${JSON.stringify(url.slice(0, 200))} does not name a disk in a bundle`);
  }
  if (!timingSafeEqual(Buffer.from(signature(signed, secret)), Buffer.from(given))) {
    throw new UsageError(
      `the signature of ${signed} is wrong: only a restore makes valid addresses`,
    );
  }
  if (Number(expires) * 1000 < now.getTime()) {
    throw new UsageError(`${signed} has expired; restore the backup again`);
  }
  return {
    datastoreId: Number(ds),
    bundle,
    diskId: Number(disk),
    form: groups['form'] as DiskForm,
  };
}

function unsigned({ datastoreId, bundle, diskId, form }: DiskAddress): string {
  return `onevmdump://${datastoreId}/${bundle}/${diskId}/${form}`;
}

function signature(text: string, secret: string): string {
  return createHmac('sha256', `onevmdump disk URL\n${secret}`).update(text).digest('hex');
}
